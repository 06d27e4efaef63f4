"""The worker that turns sessions' audio into events."""
