"""Live protocols: messages of a client to commands, events to messages."""
