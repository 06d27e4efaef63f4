"""The Python client: `connect` for live audio, `JobsClient` for recordings, `SongsClient` for songs.

`AnalysisClient` is for what recordings contain, `SpeakersClient` for the names of speakers.
`Parlando` offers most of it without asyncio.
"""

from parlando.client.analysis import AnalysisClient
from parlando.client.jobs import JobsClient
from parlando.client.session import ClientError, ClientSession, connect
from parlando.client.songs import SongsClient
from parlando.client.speakers import SpeakersClient
from parlando.client.sync import Parlando

__all__ = [
    "AnalysisClient",
    "ClientError",
    "ClientSession",
    "JobsClient",
    "Parlando",
    "SongsClient",
    "SpeakersClient",
    "connect",
]
