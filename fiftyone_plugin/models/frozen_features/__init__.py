"""Probabilities from features of a frozen encoder: one pass over the images, small heads for all folds."""
