"""One driver per dialect."""
