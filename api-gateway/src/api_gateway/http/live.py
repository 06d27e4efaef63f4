"""`WS /v1/stt/stream`: our own live protocol."""

import asyncio
from typing import Any, Final

import orjson
import structlog
from fastapi import APIRouter, WebSocket

from api_gateway import metrics
from api_gateway.auth import SUBPROTOCOL, Principal, authenticate
from api_gateway.dependencies import Services, services
from api_gateway.doors.base import Audio, Command, Start
from api_gateway.doors.native import ConnectParams, Native, read
from api_gateway.live.connection import ClientGone, LiveConnection, received_by
from api_gateway.live.relay import Relay
from api_gateway.live.socket import Socket, close, connection
from api_gateway.presenters.errors import event_of, mapping_of
from parlando.domain.audio import SAMPLES_PER_MS
from parlando.domain.formats import AudioFormat
from parlando.errors import NotAllowedError, ParlandoError, SessionNotFoundError, SessionTakenError
from parlando.ids import is_session_id, new_session_id, new_token
from parlando.store.sessions import Attached, Continued, SessionWriter

SHORTEST_TOKEN: Final = 16  # letters of a resume token that opens a session anew
FIRST_WORD_S: Final = 0.25  # how long a client may take to name its session before it gets a name

log = structlog.get_logger(part="live")
router = APIRouter()


@router.websocket("/v1/stt/stream")
async def stream(websocket: WebSocket) -> None:
    """Serve one client; every error is said in an `error` message before the close code."""
    offered = websocket.headers.get("sec-websocket-protocol", "")
    chosen = SUBPROTOCOL if SUBPROTOCOL in [p.strip() for p in offered.split(",")] else None
    await websocket.accept(subprotocol=chosen)
    socket = Socket(websocket)

    async def refuse(error: ParlandoError) -> None:
        await socket.send(orjson.dumps(event_of(error)).decode())
        await close(websocket, mapping_of(error).close, error.code)

    async with connection(websocket, refuse):
        caller = authenticate(websocket, services(websocket).settings)
        await _serve(socket, services(websocket), caller, dict(websocket.query_params))


async def _serve(socket: Socket, found: Services, caller: Principal, query: dict[str, Any]) -> None:
    params = ConnectParams.of(query)
    first: Command | None = None
    if params.session_id is None:
        first = await _first_command(socket)
        if isinstance(first, Start):
            params, first = ConnectParams.of({**query, **first.params}), None
        elif isinstance(first, Audio) and is_session_id(first.session_id or ""):
            params = params.model_copy(update={"session_id": first.session_id})
    strict = "session_id" in query
    writer, greeting = (
        await _resume_or_refuse(found, caller, params)
        if params.resume
        else await _open(found, caller, params, strict=strict)
    )
    await socket.send(orjson.dumps(greeting).decode())
    async with Relay(found.history, found.channels, writer.sid, after=greeting["seq"]) as relay:
        live = LiveConnection(
            socket,
            writer,
            relay,
            settings=found.settings,
            dialect=Native(lambda samples: writer.format.settled(samples)),
            seen=greeting["seq"],
            reformat=lambda form: _reformat(found, writer, form),
            check_language=found.admission.check_language,
        )
        try:
            await live.run(first)
        except ClientGone:
            await live.leave()
            raise


async def _first_command(socket: Socket) -> Command | None:
    """What the client says first, if it says it soon: it may name its session or its format."""
    try:
        async with asyncio.timeout(FIRST_WORD_S):
            message = await socket.receive()
    except TimeoutError:
        return None
    return read(message)


async def _open(
    found: Services, caller: Principal, params: ConnectParams, *, strict: bool
) -> tuple[SessionWriter, dict[str, Any]]:
    """Open a session. A name from the query must be free; one from a message is a wish."""
    capacity = await found.admission.capacity(params.format)
    await found.admission.check_language(params.config.language)
    token = new_token()
    config = params.config.model_dump(exclude_none=True)

    async def opened(sid: str) -> SessionWriter:
        return await found.sessions.open(
            sid,
            config=config,
            token=token,
            key=caller.key,
            limit=capacity,
            form=params.format,
            uid=params.uid,
        )

    sid = params.session_id or new_session_id()
    try:
        writer = await opened(sid)
    except SessionTakenError:
        if strict:
            raise
        writer = await opened(new_session_id())
    metrics.OPENED.labels("new").inc()
    return writer, await _greeting(found, writer, resume_token=token, seq=writer.seq)


async def _reformat(found: Services, writer: SessionWriter, form: AudioFormat) -> None:
    await found.admission.capacity(form)
    await writer.reformat(form)


async def _resume_or_refuse(
    found: Services, caller: Principal, params: ConnectParams
) -> tuple[SessionWriter, dict[str, Any]]:
    """A stranger doesn't learn whether a session of that id exists: it gets the same refusal."""
    try:
        return await _resume(found, caller, params)
    except (SessionNotFoundError, NotAllowedError) as error:
        raise SessionNotFoundError(
            f"No session {params.session_id} is known that this resume token or key may resume"
        ) from error


async def _resume(
    found: Services, caller: Principal, params: ConnectParams
) -> tuple[SessionWriter, dict[str, Any]]:
    sid, continued = params.session_id or "", _continued(params)
    try:
        attached = await found.sessions.attach(sid, token=params.resume or "", key=caller.key)
    except SessionNotFoundError:
        if continued is None:
            raise
        return await _go_on(found, caller, params, continued)
    if continued is not None and attached.behind(continued):
        return await _go_on(found, caller, params, continued)
    return await _resumed(found, params, attached)


async def _resumed(
    found: Services, params: ConnectParams, attached: Attached
) -> tuple[SessionWriter, dict[str, Any]]:
    metrics.OPENED.labels("resumed").inc()
    greeting = await _greeting(
        found, attached.writer, resume_token=params.resume or "", seq=min(params.last_seq, attached.seq)
    )
    return attached.writer, {**greeting, "resumed": True, "state": attached.state}


def _continued(params: ConnectParams) -> Continued | None:
    """Where the session goes on if Redis has lost it; None if the client doesn't say."""
    if params.start_at is None:
        return None
    settled = params.settled_ms * SAMPLES_PER_MS
    return Continued(params.last_seq, params.segments, params.start_at, settled)


async def _go_on(
    found: Services, caller: Principal, params: ConnectParams, continued: Continued
) -> tuple[SessionWriter, dict[str, Any]]:
    """Open a session anew that Redis has lost, where its client says that it stands, with the same token."""
    sid, token = params.session_id or "", params.resume or ""
    if len(token) < SHORTEST_TOKEN:
        raise NotAllowedError("Expected the resume token that `connected` told")
    capacity = await found.admission.capacity(params.format)
    try:
        writer = await found.sessions.open(
            sid,
            config=params.config.model_dump(exclude_none=True),
            token=token,
            key=caller.key,
            limit=capacity,
            form=params.format,
            uid=params.uid,
            continued=continued,
        )
    except SessionTakenError:  # another connection of the same client was faster
        return await _resumed(found, params, await found.sessions.attach(sid, token=token, key=caller.key))
    metrics.OPENED.labels("reopened").inc()
    greeting = await _greeting(found, writer, resume_token=token, seq=writer.seq)
    return writer, {**greeting, "resumed": True, "reopened": True, "state": "open"}


async def _greeting(found: Services, writer: SessionWriter, *, resume_token: str, seq: int) -> dict[str, Any]:
    workers = await found.admission.transcribers()
    runs = workers[0] if workers else {"engine": None, "model": None}
    return {
        "type": "connected",
        "session_id": writer.sid,
        "job_id": writer.sid,
        "resume_token": resume_token,
        "engine": runs["engine"],
        "model": runs["model"],
        "sample_rate": writer.format.sample_rate,
        **received_by(writer),
        "seq": seq,
    }
