"""One ranking and one verdict for a dataset, learnt from errors rehearsed on it."""
