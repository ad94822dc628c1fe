"""Models that know objects without training on the dataset: SAM and GroundingDINO."""
