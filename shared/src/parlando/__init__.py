"""The library that Parlando's services share: words, audio, the Redis log, models and the client."""

__version__ = "0.1.0"
