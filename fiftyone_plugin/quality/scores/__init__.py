"""Scores of one image and of its classes, and the names of the methods."""
