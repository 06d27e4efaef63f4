"""Live protocols: they decode client messages to commands, and encode events as messages."""
