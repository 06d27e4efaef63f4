"""Wire protocols: messages in, commands out, and back. Pure."""
