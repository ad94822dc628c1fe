"""Records that are added and never changed: answers and reviews."""
