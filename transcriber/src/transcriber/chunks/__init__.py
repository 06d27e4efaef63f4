"""Chunks of jobs."""
