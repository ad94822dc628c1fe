"""Rehearse with errors that are known."""
