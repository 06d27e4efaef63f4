"""One live session: audio to segments to finals."""
