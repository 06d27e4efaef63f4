"""Builds the images and tries them: python -m images.check."""
