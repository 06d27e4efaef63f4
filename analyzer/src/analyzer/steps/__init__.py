"""The steps of an analysis, one file each."""
