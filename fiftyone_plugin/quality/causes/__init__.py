"""Why labels are wrong: what many errors have in common, and one repair for all of them."""
