"""Parlando's recognition of songs: landmarks, index, live sessions, files."""
