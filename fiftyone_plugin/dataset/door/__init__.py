"""The door: labels, classes, masks and samples as plain values, settled once."""
