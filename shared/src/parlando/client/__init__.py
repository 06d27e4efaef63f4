"""The Python client: `async with connect(url) as session`."""

from parlando.client.session import ClientError, ClientSession, connect

__all__ = ["ClientError", "ClientSession", "connect"]
