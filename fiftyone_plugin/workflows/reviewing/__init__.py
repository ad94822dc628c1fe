"""Look at a run, accept or reject its regions, and see how much is wrong."""
