"""clipart."""
