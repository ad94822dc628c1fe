"""Score labels: from probabilities to scores, flags and regions in the dataset."""
