"""The rooms that know FiftyOne: masks, classes, scans, fields, files, runs and views of a dataset."""
