"""Models that know objects without training on the dataset: the SAM family, and detectors that are told names."""
