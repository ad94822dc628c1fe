"""Images, masks and state dicts as they lie on disk."""
