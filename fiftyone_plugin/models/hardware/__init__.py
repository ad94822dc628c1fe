"""The device that computes, and its precision."""
