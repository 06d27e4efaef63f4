"""FastAPI dependencies of the routes: the app's services, the caller, and sessions that it can read."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from api_gateway.admission import Admission
from api_gateway.audit import Auditor, Note
from api_gateway.auth import Access, Principal, handshake_of
from api_gateway.cluster import Cluster
from api_gateway.deliveries.archive import Archive
from api_gateway.deliveries.archiver import Archiver
from api_gateway.deliveries.queues import Queues
from api_gateway.fair_shares import FairShares
from api_gateway.limits.service import LimitService
from api_gateway.owners.owners import Owners
from api_gateway.permissions import begins_work, route_rule
from api_gateway.settings import GatewaySettings
from parlando.blobs import Blobs
from parlando.errors import NotAllowedError, SessionNotFoundError
from parlando.ids import is_session_id
from parlando.outbound import Outbound
from parlando.store.analysis_tasks import AnalysisTasks
from parlando.store.annotations import Annotations
from parlando.store.history import History, SessionRecord
from parlando.store.http_audio import HttpAudio
from parlando.store.job_store import Jobs
from parlando.store.known_speakers import KnownSpeakers
from parlando.store.pubsub import Channels
from parlando.store.requests import Requests
from parlando.store.sessions import Sessions
from parlando.store.song_index import SongIndex
from parlando.store.uploads import Uploads
from parlando.store.usage import Usage
from parlando.store.viewers import Viewers, is_viewer_token, viewer_of

WATCH: Final = "watch"
"""Name of a request's `Watch` in the state of its scope."""
WINDOWS: Final = "windows"
"""Name of the windows of requests in which it was counted, there too."""
NOTE: Final = "audit"
"""Name of a request's `Note` for the audit log there."""


@dataclass(frozen=True, slots=True)
class Songs:
    """The index of songs, and requests to the song recognizers."""

    index: SongIndex
    requests: Requests


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may need; built once in `app.py`. `doors`: names of the live protocols."""

    settings: GatewaySettings
    access: Access
    auditor: Auditor
    sessions: Sessions
    history: History
    channels: Channels
    admission: Admission
    shares: FairShares
    http_audio: HttpAudio
    archive: Archive
    archiver: Archiver
    queues: Queues
    owners: Owners
    blobs: Blobs
    jobs: Jobs
    uploads: Uploads
    usage: Usage
    outbound: Outbound
    viewers: Viewers
    annotations: Annotations
    known_speakers: KnownSpeakers
    songs: Songs
    tasks: AnalysisTasks
    digests: Requests
    cluster: Cluster
    limits: LimitService
    doors: tuple[str, ...]


def services(connection: HTTPConnection) -> Services:
    """The app's services."""
    services: Services = connection.app.state.services
    return services


async def authenticated(connection: HTTPConnection, offered: str | None = None) -> Principal:
    """The caller of a route, which has what `permissions.ROUTES` asks for.

    `offered`: a key in the path. The request ends when the caller's key becomes invalid. A request that
    begins work is counted. Raises as `Access.authenticate`, and `RateLimitedError`.
    """
    method, path = connection.scope["method"], connection.scope["route"].path
    state = connection.scope.get("state", {})
    found = services(connection)
    caller = await found.access.recognised(handshake_of(connection), offered=offered)
    note_of(connection).of(f"{method} {path}", connection.path_params, caller)
    found.access.admit(caller, route_rule(method, path), watch=state.get(WATCH))
    if begins_work(f"{method} {path}"):
        taken = await found.limits.requests.take(caller.holder)
        state[WINDOWS] = taken.windows
        taken.check()
    return caller


def note_of(connection: HTTPConnection) -> Note:
    """What the audit log will note of a request."""
    note: Note = connection.scope["state"][NOTE]
    return note


async def principal(connection: HTTPConnection) -> Principal:
    """The caller. Raises as `authenticated`."""
    return await authenticated(connection)


ServicesDep = Annotated[Services, Depends(services)]
PrincipalDep = Annotated[Principal, Depends(principal)]


async def _session(sid: str, services: Services) -> SessionRecord:
    if not is_session_id(sid):
        raise SessionNotFoundError(f"No session {sid[:128]!r} is known; this is not a valid session id")
    return await services.history.record(sid)


async def readable(sid: str, caller: PrincipalDep, services: ServicesDep) -> SessionRecord:
    """A session of the caller's own. Raises `SessionNotFoundError` for those of other keys too."""
    record = await _session(sid, services)
    if record.key != caller.owner:
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
    record = await _session(sid, services)
    method, path = connection.scope["method"], connection.scope["route"].path
    owner = Principal(record.key, scopes=frozenset())
    note_of(connection).of(f"{method} {path}", connection.path_params, owner, viewer=viewer_of(token))
    return ReadAccess(record, token)


ReadingDep = Annotated[ReadAccess, Depends(visible)]

TranslationQuery = Annotated[
    str | None,
    Query(
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$",
        description="Language of the text, if a stage translates; segments without a translation keep theirs",
    ),
]
"""The query parameter `translation` of transcripts."""
