"""Our own protocol, `WS /v1/stt/stream` (docs/protocols.md). Pure: messages in, commands out."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from api_gateway.doors.base import (
    Ack,
    Audio,
    ClientCommand,
    FlowStatus,
    LiveProtocol,
    Message,
    Mistake,
    Notice,
    OpenedSession,
    Ping,
    Pong,
    Refusal,
    SessionRequest,
    Start,
)
from api_gateway.handshake import Handshake
from api_gateway.presenters.error_mapping import event_of, mapping_of
from parlando.domain.annotations import Annotation
from parlando.domain.audio import Encoding, milliseconds
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, Partial, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError, ParlandoError
from parlando.ids import SESSION_ID_PATTERN, UID_PATTERN, is_session_id, one_line

FIRST_MESSAGE_S: Final = 0.25
"""How long a client may take to name its session before it is given one."""

_CONFIG_FIELDS: Final = frozenset(SessionConfig.model_fields)
_FORMAT_FIELDS: Final = frozenset(AudioFormat.model_fields)
_FORMAT_NAMES: Final = {"pcm": Encoding.PCM_S16LE, "raw": Encoding.PCM_S16LE, "s16le": Encoding.PCM_S16LE}


class _Config(SessionConfig):
    """A config that comes from a client. Those in Redis were checked when they came."""

    @field_validator("title")
    @classmethod
    def _title(cls, title: str) -> str:
        return one_line(title)


class _Request(BaseModel):
    """What a client may ask for in the query, or in its `start` message."""

    model_config = ConfigDict(extra="ignore")

    session_id: str | None = Field(None, pattern=SESSION_ID_PATTERN)
    resume: str | None = None
    last_seq: int = Field(0, ge=0, le=10**12)
    start_at: int | None = Field(None, ge=0, le=10**13)
    settled_ms: int = Field(0, ge=0, le=10**11)
    segments: int = Field(0, ge=0, le=10**9)
    uid: str = Field("", pattern=rf"^$|{UID_PATTERN}")
    annotations: bool = False
    last_annotation: int = Field(0, ge=0, le=10**9)


def request_of(raw: Mapping[str, Any], *, must_be_new: bool = False) -> SessionRequest:
    """The session that the fields of a query or of a `start` message ask for.

    Raises
    ------
    InvalidRequestError
        naming the field, what was expected and what came.

    """
    config = {name: value for name, value in raw.items() if name in _CONFIG_FIELDS and value != ""}
    try:
        asked = _Request(**raw)
        return SessionRequest(
            **asked.model_dump(), must_be_new=must_be_new, config=_Config(**config), format=_format(raw)
        )
    except ValidationError as error:
        raise InvalidRequestError(_explain(error)) from error


def _format(raw: Mapping[str, Any]) -> AudioFormat:
    """The audio format among a client's wishes; `format: wav` and its like say `encoding: container`."""
    fields = {name: value for name, value in raw.items() if name in _FORMAT_FIELDS and value != ""}
    if "encoding" not in fields and (name := raw.get("format")):
        fields["encoding"] = _FORMAT_NAMES.get(str(name).lower(), Encoding.CONTAINER)
    return AudioFormat(**fields)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if not name:
        return first["msg"]
    return f"{name}: {first['msg']}, but got {str(first['input'])[:80]!r}"


def config_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config message that may change in mid-session, checked."""
    known = {name: value for name, value in changes.items() if name in _CONFIG_FIELDS}
    try:
        checked = _Config(**known)
    except ValidationError as error:
        raise InvalidRequestError(_explain(error)) from error
    return checked.model_dump(include=set(known))


def _read(message: Message) -> ClientCommand:
    if isinstance(message, bytes):
        return Audio(message)
    try:
        said = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Expected a JSON object, but got {message[:80]!r}") from error
    kind = said.get("type") if isinstance(said, dict) else None
    match kind:
        case "audio":
            return _audio(said)
        case "start":
            fields = {name: value for name, value in said.items() if name != "type"}
            return Start(fields, request_of(fields).format, config_changes(fields))
        case "config":
            return Configure(changes=config_changes(said))
        case "flush":
            return Flush()
        case "ping":
            return Ping()
        case "end":
            return End()
        case _:
            raise InvalidRequestError(
                f"Expected type start, audio, config, flush, ping or end, but got {str(kind)[:80]!r}"
            )


def _audio(said: dict[str, Any]) -> Audio:
    chunk = said.get("chunk", said.get("data"))
    if not isinstance(chunk, str):
        raise InvalidRequestError("Expected audio with a base64 string in chunk, but it has none")
    try:
        data = base64.b64decode(chunk, validate=True)
    except ValueError as error:  # binascii.Error, or what isn't ASCII
        raise InvalidRequestError(f"Expected base64 in chunk, but got {chunk[:40]!r} ({error})") from error
    index, session_id = said.get("index"), said.get("session_id")
    return Audio(
        data,
        index if isinstance(index, int) else None,
        session_id if isinstance(session_id, str) else None,
    )


class Native(LiveProtocol):
    """Our own protocol.

    It remembers what it has sent of the open segment: the `new_text` values of a segment, joined by spaces,
    are its final text.
    """

    subprotocol = "parlando"

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._session: OpenedSession | None = None
        self._segment = -1
        self._sent_text = ""

    @property
    def first_message_s(self) -> float:
        """A client that names no session in the query may do so in its first message."""
        return 0.0 if "session_id" in self.handshake.query else FIRST_MESSAGE_S

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """The query's fields, and those of a `start`. An id in the query must be free, one in a message is a
        wish.
        """
        query = dict(self.handshake.query)
        if isinstance(first, Start):
            query.update(first.fields)
        request = request_of(query, must_be_new="session_id" in self.handshake.query)
        if isinstance(first, Audio) and is_session_id(first.session_id or ""):
            request = replace(request, session_id=first.session_id)
        return request

    def greeting(self, session: OpenedSession) -> Sequence[str]:
        """`connected`."""
        self._session = session
        greeting = {
            "type": "connected",
            "session_id": session.id,
            "job_id": session.id,
            "resume_token": session.resume_token,
            "engine": session.engine,
            "model": session.model,
            "sample_rate": session.format.sample_rate,
            **session.received,
            "seq": session.seq,
            "epoch": session.epoch,
            **session.resumed,
        }
        return [_dump(greeting)]

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Binary messages are audio, text ones are JSON; each says one thing."""
        return [_read(message)]

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """Every event, with `new_text` where it has text and `settled` where it settles audio."""
        body = event.model_dump(exclude_none=True)
        if isinstance(event, Partial):
            body["new_text"] = self._new(event.segment, event.stable)
        elif isinstance(event, FinalTranscript):
            body["new_text"] = self._new(event.segment, event.text)
        if (covers := body.pop("covers", None)) is not None:
            body["settled"] = covers if self._session is None else self._session.format.settled(covers)
            body["settled_ms"] = milliseconds(covers)
        return [_dump(body)]

    def _new(self, segment: int, text: str) -> str:
        if segment != self._segment:
            self._segment, self._sent_text = segment, ""
        new = text.removeprefix(self._sent_text).lstrip()
        self._sent_text = text
        return new

    def notice(self, notice: Notice) -> Sequence[str]:
        """`ack`, `status`, `pong` and `error`."""
        match notice:
            case Ack(received, settled, settled_ms, index):
                body: dict[str, Any] = {
                    "type": "ack",
                    **received,
                    "settled": settled,
                    "settled_ms": settled_ms,
                }
                if index is not None:
                    body["chunk_index"] = index
            case FlowStatus(status, ms, reason):
                sid = self._session.id if self._session else ""
                body = {"type": "status", "session_id": sid, "status": status, "ms": ms, "reason": reason}
            case Pong():
                body = {"type": "pong"}
            case Mistake(error):
                body = event_of(error)
        return [_dump(body)]

    def refusal(self, error: ParlandoError) -> Refusal:
        """An `error` message, then the code of the table of errors."""
        return Refusal([_dump(event_of(error))], mapping_of(error).close, error.code)


def _dump(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
