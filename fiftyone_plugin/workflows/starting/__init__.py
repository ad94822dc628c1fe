"""Start from nothing: pseudo labels, superpixels, embeddings."""
