"""Our own protocol, `WS /v1/stt/stream` (docs/protocols.md). Pure: messages in, commands out."""

import base64
from collections.abc import Callable
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from api_gateway.doors.base import Audio, Command, Configure, End, Flush, Ping, Start
from parlando.domain.audio import Encoding, milliseconds
from parlando.domain.config import SessionConfig
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError
from parlando.ids import SESSION_ID_PATTERN, UID_PATTERN, one_line

_CONFIG_FIELDS: Final = frozenset(SessionConfig.model_fields)
_FORMAT_FIELDS: Final = frozenset(AudioFormat.model_fields)
_FORMAT_NAMES: Final = {"pcm": Encoding.PCM_S16LE, "raw": Encoding.PCM_S16LE, "s16le": Encoding.PCM_S16LE}


class _Config(SessionConfig):
    """What a client asks for. Configurations in Redis were checked when they came."""

    @field_validator("title")
    @classmethod
    def _title(cls, title: str) -> str:
        return one_line(title)


class ConnectParams(BaseModel):
    """What a client may ask for in the query, or in its `start` message."""

    model_config = ConfigDict(extra="ignore")

    session_id: str | None = Field(None, pattern=SESSION_ID_PATTERN)
    resume: str | None = None
    last_seq: int = Field(0, ge=0, le=10**12)
    start_at: int | None = Field(None, ge=0, le=10**13)
    settled_ms: int = Field(0, ge=0, le=10**11)
    segments: int = Field(0, ge=0, le=10**9)
    uid: str = Field("", pattern=rf"^$|{UID_PATTERN}")
    config: SessionConfig = SessionConfig()
    format: AudioFormat = AudioFormat()

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "ConnectParams":
        """Read and check what a client asks for.

        Raises
        ------
        InvalidRequestError
            naming the field, what was expected and what came.

        """
        config = {name: value for name, value in raw.items() if name in _CONFIG_FIELDS and value != ""}
        try:
            params = cls(**{**raw, "config": _Config(**config), "format": _format(raw)})
        except ValidationError as error:
            raise InvalidRequestError(_explain(error)) from error
        return params


def _format(raw: dict[str, Any]) -> AudioFormat:
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


def read(message: str | bytes) -> Command:
    """What a message says: binary ones are audio, text ones are JSON.

    Raises
    ------
    InvalidRequestError
        saying what was expected and what came.

    """
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
            params = {name: value for name, value in said.items() if name != "type"}
            return Start(params, _format_of(params), config_changes(params))
        case "config":
            return Configure(config_changes(said))
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


def _format_of(params: dict[str, Any]) -> AudioFormat:
    return ConnectParams.of(params).format


class Native:
    """Our own dialect. It knows what was said before: the `new_text` values of a segment, joined by
    spaces, are its final text. `settled` turns samples as we keep audio into the client's.
    """

    read = staticmethod(read)

    def __init__(self, settled: Callable[[int], int] = int) -> None:
        self._settled = settled
        self._segment = -1
        self._said = ""

    def say(self, **message: Any) -> str:
        """See `Dialect.say`."""
        return orjson.dumps(message).decode()

    def event(self, event: bytes) -> str:
        """See `Dialect.event`."""
        body = orjson.loads(event)
        match body["type"]:
            case "partial":
                body["new_text"] = self._new(body["segment"], body["stable"])
            case "final":
                body["new_text"] = self._new(body["segment"], body["text"])
        if (covers := body.pop("covers", None)) is not None:
            body["settled"] = self._settled(covers)
            body["settled_ms"] = milliseconds(covers)
        return orjson.dumps(body).decode()

    def _new(self, segment: int, text: str) -> str:
        if segment != self._segment:
            self._segment, self._said = segment, ""
        new = text.removeprefix(self._said).lstrip()
        self._said = text
        return new
