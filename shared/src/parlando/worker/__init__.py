"""The base of all worker processes."""
