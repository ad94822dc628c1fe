"""Which pixels are label errors, by confident learning over the whole dataset."""
