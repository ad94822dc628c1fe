"""Cross-validated training: folds, examples, one fold's training, predictions by the model that has not seen them."""
