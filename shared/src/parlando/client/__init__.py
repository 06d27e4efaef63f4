"""The Python client: `connect` for live audio, `JobsClient` for recordings, `SongsClient` for songs.

`AnalysisClient` is for what recordings contain, `SpeakersClient` for the names of speakers, `KeysClient` for
API keys and tokens, `UsageClient` for what was used, `OwnersClient` for all data of an owner, `AuditClient`
for the audit log.
`Parlando` offers most of it without asyncio.
"""

from parlando.client.analysis import AnalysisClient
from parlando.client.audit import AuditClient
from parlando.client.jobs import JobsClient
from parlando.client.keys import KeysClient
from parlando.client.owners import OwnersClient
from parlando.client.session import ClientError, ClientSession, connect
from parlando.client.songs import SongsClient
from parlando.client.speakers import SpeakersClient
from parlando.client.sync import Parlando
from parlando.client.usage import UsageClient

__all__ = [
    "AnalysisClient",
    "AuditClient",
    "ClientError",
    "ClientSession",
    "JobsClient",
    "KeysClient",
    "OwnersClient",
    "Parlando",
    "SongsClient",
    "SpeakersClient",
    "UsageClient",
    "connect",
]
