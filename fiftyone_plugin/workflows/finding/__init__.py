"""One job for people without a model: from a label field to the worst images."""
