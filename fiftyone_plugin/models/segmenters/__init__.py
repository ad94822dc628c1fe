"""Anything that gives probabilities: networks of every origin, and files of probabilities."""
