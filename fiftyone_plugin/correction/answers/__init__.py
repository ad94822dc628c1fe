"""What answers change: replay, propagation, refinement, and how much is still wrong."""
