"""The Python client: `connect` for live audio, `JobsClient` for recordings, `SongsClient` for songs.

`Parlando` offers most of it without asyncio.
"""

from parlando.client.jobs import JobsClient
from parlando.client.session import ClientError, ClientSession, connect
from parlando.client.songs import SongsClient
from parlando.client.sync import Parlando

__all__ = ["ClientError", "ClientSession", "JobsClient", "Parlando", "SongsClient", "connect"]
