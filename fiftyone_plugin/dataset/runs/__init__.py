"""Runs on a dataset: their records and the files that they own."""
