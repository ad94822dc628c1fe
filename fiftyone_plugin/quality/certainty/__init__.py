"""What can be promised from a few decisions."""
