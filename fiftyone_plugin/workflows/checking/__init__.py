"""Look at labels before anything is computed: all faults at once, without a model."""
