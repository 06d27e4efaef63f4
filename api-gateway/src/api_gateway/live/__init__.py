"""Live connections: store audio in Redis, send events from it."""
