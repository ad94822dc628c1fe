"""Parts of an image that one answer can be about: cut, summed up, put together."""
