"""Labels checked before anything is computed, without a model, and cleaned."""
