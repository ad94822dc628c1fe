"""Where labels are wrong: typed regions, how surely they are errors, and what reviews say about the rest."""
