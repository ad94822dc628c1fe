"""Repairs of labels as a small file that others can apply: regions, what they were given, what they are."""
