"""Parlando and other servers with the same weights, audio and machine: `make bench-peers`."""
