"""Train models on the dataset: cross-validated, or robust to noise."""
