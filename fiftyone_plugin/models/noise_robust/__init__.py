"""Training on labels that are partly wrong: early learning, label correction, consistency."""
