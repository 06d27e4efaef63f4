"""The library shared by Parlando's services: data types, audio, the Redis store, models and the client."""

__version__ = "0.1.0"
