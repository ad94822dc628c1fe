"""Hand on what was found: one HTML file of a run, and lists of its regions for other tools."""
