"""One live connection: audio into Redis, events out of it."""
