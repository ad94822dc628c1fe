"""What one image leaves behind for a dataset: records, sums that add up, files that hold them."""
