"""Bulk decisions with a promise, reliable reviewers, and repairs that others can apply."""
