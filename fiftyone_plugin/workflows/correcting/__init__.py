"""Ask, answer, and derive corrected labels."""
