"""The native protocol, `WS /v1/stt/stream` (docs/protocols.md). Pure."""

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
    MessageError,
    Notice,
    OpenedSession,
    Ping,
    Pong,
    QuotaLow,
    Refusal,
    SessionRequest,
    Start,
    explain,
    json_of,
)
from api_gateway.handshake import Handshake
from api_gateway.presenters.error_mapping import event_of, mapping_of
from parlando.domain.annotations import Annotation
from parlando.domain.audio import Encoding, milliseconds
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, Partial, SessionEvent, Status
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError, ParlandoError
from parlando.ids import SESSION_ID_PATTERN, UID_PATTERN, is_session_id, one_line

FIRST_MESSAGE_S: Final = 0.25
"""Seconds to wait for a `start` that names the session; after it a new session is opened."""

_CONFIG_FIELDS: Final = frozenset(SessionConfig.model_fields)
_FORMAT_FIELDS: Final = frozenset(AudioFormat.model_fields)
_FORMAT_NAMES: Final = {"pcm": Encoding.PCM_S16LE, "raw": Encoding.PCM_S16LE, "s16le": Encoding.PCM_S16LE}


class _Config(SessionConfig):
    """A config from a client, with cleaned names. Those in Redis were checked when they were received."""

    @field_validator("title", "speaker")
    @classmethod
    def _clean(cls, name: str) -> str:
        return one_line(name)


class _Request(BaseModel):
    """The fields of the query, or of a `start` message, other than config and format."""

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
    """Parse the fields of a query or of a `start` message.

    Raises
    ------
    InvalidRequestError
        naming the field, the expected value and the received one.

    """
    config = {name: value for name, value in raw.items() if name in _CONFIG_FIELDS and value != ""}
    try:
        parsed = _Request(**raw)
        return SessionRequest(
            **parsed.model_dump(), must_be_new=must_be_new, config=_Config(**config), format=_format(raw)
        )
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error


def _format(raw: Mapping[str, Any]) -> AudioFormat:
    """The audio format among the fields; `format: wav` and the like mean `encoding: container`."""
    fields = {name: value for name, value in raw.items() if name in _FORMAT_FIELDS and value != ""}
    if "encoding" not in fields and (name := raw.get("format")):
        fields["encoding"] = _FORMAT_NAMES.get(str(name).lower(), Encoding.CONTAINER)
    return AudioFormat(**fields)


def config_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The validated changes of a config message during a session."""
    known = {name: value for name, value in changes.items() if name in _CONFIG_FIELDS}
    try:
        checked = _Config(**known)
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error
    return checked.model_dump(include=set(known))


def _read(message: Message) -> ClientCommand:
    if isinstance(message, bytes):
        return Audio(message)
    body = json_of(message)
    kind = body.get("type") if isinstance(body, dict) else None
    match kind:
        case "audio":
            return _audio(body)
        case "start":
            fields = {name: value for name, value in body.items() if name != "type"}
            return Start(fields, request_of(fields).format, config_changes(fields))
        case "config":
            return Configure(changes=config_changes(body))
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


def _audio(body: dict[str, Any]) -> Audio:
    chunk = body.get("chunk", body.get("data"))
    if not isinstance(chunk, str):
        raise InvalidRequestError("Expected audio with a base64 string in chunk, but got none")
    try:
        data = base64.b64decode(chunk, validate=True)
    except ValueError as error:  # binascii.Error, or not ASCII
        raise InvalidRequestError(f"Expected base64 in chunk, but got {chunk[:40]!r} ({error})") from error
    index, session_id = body.get("index"), body.get("session_id")
    return Audio(
        data,
        index if isinstance(index, int) else None,
        session_id if isinstance(session_id, str) else None,
    )


class Native(LiveProtocol):
    """The native protocol.

    It keeps the text already sent of the open segment, so that the `new_text` values of a segment, joined by
    spaces, are its final text.
    """

    subprotocol = "parlando"

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._session: OpenedSession | None = None
        self._segment = -1
        self._sent_text = ""

    @property
    def first_message_s(self) -> float:
        """A client that names no session in the query can do so in its first message."""
        return 0.0 if "session_id" in self.handshake.query else FIRST_MESSAGE_S

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """The query's fields, overridden by those of a `start`.

        An id in the query must be unused. One in a message is replaced by a new id if it is in use.
        """
        query = dict(self.handshake.query)
        if isinstance(first, Start):
            query.update(first.fields)
        request = request_of(query, must_be_new="session_id" in self.handshake.query)
        if isinstance(first, Audio) and is_session_id(first.session_id or ""):
            request = replace(request, session_id=first.session_id)
        return request

    def greeting(self, session: OpenedSession) -> Sequence[str]:
        """The `connected` message."""
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
        """One command per message: binary messages are audio, text messages are JSON."""
        return [_read(message)]

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """Every event, with `new_text` if it has text, and `settled` if it settles audio."""
        unkept = {"seq", "epoch"} if isinstance(event, Status) and not event.seq else None
        body = event.model_dump(exclude=unkept, exclude_none=True)
        if isinstance(event, Partial):
            body["new_text"] = self._new_text(event.segment, event.stable)
        elif isinstance(event, FinalTranscript):
            body["new_text"] = self._new_text(event.segment, event.text)
        if (covers := body.pop("covers", None)) is not None:
            body["settled"] = covers if self._session is None else self._session.format.settled(covers)
            body["settled_ms"] = milliseconds(covers)
        return [_dump(body)]

    def _new_text(self, segment: int, text: str) -> str:
        if segment != self._segment:
            self._segment, self._sent_text = segment, ""
        new = text.removeprefix(self._sent_text).lstrip()
        self._sent_text = text
        return new

    def notice(self, notice: Notice) -> Sequence[str]:
        """An `ack`, `status`, `pong` or `error` message."""
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
            case QuotaLow(quota, percent):
                body = {
                    "type": "status",
                    "session_id": self._session.id if self._session else "",
                    "status": "quota_low",
                    "ms": notice.remaining_ms,
                    "reason": quota.name,
                    "of": quota.of,
                    "percent": percent,
                    "resets_at": f"{quota.resets_at:%Y-%m-%dT%H:%M:%SZ}" if quota.resets_at else None,
                }
            case Pong():
                body = {"type": "pong"}
            case MessageError(error):
                body = event_of(error)
        return [_dump(body)]

    def refusal(self, error: ParlandoError) -> Refusal:
        """An `error` message, then the close code from `ERROR_MAPPINGS`."""
        return Refusal([_dump(event_of(error))], mapping_of(error).close, error.code)


def _dump(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
