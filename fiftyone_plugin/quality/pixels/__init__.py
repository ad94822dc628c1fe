"""What one image's probabilities say pixel by pixel: checked inputs, compiled loops, maps, boundaries."""
