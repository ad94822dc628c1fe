"""The fields that runs write, and how the App shows them."""
