"""FastAPI dependencies of the routes: the app's services, the caller, and sessions that it can read."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from api_gateway.admission import Admission
from api_gateway.auth import Access, Principal, handshake_of
from api_gateway.cluster import Cluster
from api_gateway.deliveries.archive import Archive
from api_gateway.deliveries.archiver import Archiver
from api_gateway.deliveries.queues import Queues
from api_gateway.settings import GatewaySettings
from parlando.blobs import Blobs
from parlando.errors import NotAllowedError, SessionNotFoundError
from parlando.ids import fingerprint, is_session_id
from parlando.outbound import Outbound
from parlando.store.analysis_tasks import AnalysisTasks
from parlando.store.annotations import Annotations
from parlando.store.history import History, SessionRecord
from parlando.store.http_audio import HttpAudio
from parlando.store.job_store import Jobs
from parlando.store.pubsub import Channels
from parlando.store.requests import Requests
from parlando.store.sessions import Sessions
from parlando.store.song_index import SongIndex
from parlando.store.viewers import Viewers, is_viewer_token


@dataclass(frozen=True, slots=True)
class Songs:
    """The index of songs, and requests to the song recognizers."""

    index: SongIndex
    requests: Requests


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may need; built once in `app.py`."""

    settings: GatewaySettings
    access: Access
    sessions: Sessions
    history: History
    channels: Channels
    admission: Admission
    http_audio: HttpAudio
    archive: Archive
    archiver: Archiver
    queues: Queues
    blobs: Blobs
    jobs: Jobs
    outbound: Outbound
    viewers: Viewers
    annotations: Annotations
    songs: Songs
    tasks: AnalysisTasks
    digests: Requests
    cluster: Cluster


def services(connection: HTTPConnection) -> Services:
    """The app's services."""
    services: Services = connection.app.state.services
    return services


async def principal(connection: HTTPConnection) -> Principal:
    """The caller, or `NotAllowedError`."""
    return await services(connection).access.authenticate(handshake_of(connection))


ServicesDep = Annotated[Services, Depends(services)]
PrincipalDep = Annotated[Principal, Depends(principal)]


async def _session(sid: str, services: Services) -> SessionRecord:
    if not is_session_id(sid):
        raise SessionNotFoundError(f"No session {sid[:128]!r} is known; this is not a valid session id")
    return await services.history.record(sid)


async def readable(sid: str, caller: PrincipalDep, services: ServicesDep) -> SessionRecord:
    """A session of the caller's own. Raises `SessionNotFoundError` for those of other keys too."""
    record = await _session(sid, services)
    if record.key != fingerprint(caller.key):
        raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
    return record


RecordDep = Annotated[SessionRecord, Depends(readable)]


@dataclass(frozen=True, slots=True)
class ReadAccess:
    """Permission to read a session. `token` is the viewer token, or "" for the owner."""

    record: SessionRecord
    token: str = ""


async def visible(sid: str, connection: HTTPConnection, services: ServicesDep) -> ReadAccess:
    """A session that the caller can follow: its own, or one whose viewer token it sends."""
    token = handshake_of(connection).token or ""
    if not is_viewer_token(token):
        return ReadAccess(await readable(sid, await principal(connection), services))
    try:
        admitted = is_session_id(sid) and await services.viewers.admits(sid, token)
    except SessionNotFoundError:
        admitted = False
    if not admitted:
        raise NotAllowedError("This link has been revoked, or its session has expired")
    return ReadAccess(await _session(sid, services), token)


ReadingDep = Annotated[ReadAccess, Depends(visible)]

TranslationQuery = Annotated[
    str | None,
    Query(
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$",
        description="Language of the text, if a stage translates; segments without a translation keep theirs",
    ),
]
"""The query parameter `translation` of transcripts."""
