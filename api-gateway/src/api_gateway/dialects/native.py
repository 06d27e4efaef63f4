"""Our own protocol, `WS /v1/stt/stream` (docs/protocols.md). Pure: messages in, commands out."""

import base64
import binascii
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api_gateway.dialects.base import Audio, Command, Configure, End, Flush, Ping, Start
from parlando.audio import SAMPLE_RATE, Encoding
from parlando.config import SessionConfig
from parlando.errors import InvalidAudioError, InvalidRequestError
from parlando.ids import SESSION_ID_PATTERN

_CONFIG_FIELDS: Final = frozenset(SessionConfig.model_fields)


class Wishes(BaseModel):
    """What a client may ask for in the query, or in its `start` message."""

    model_config = ConfigDict(extra="ignore")

    session_id: str | None = Field(None, pattern=SESSION_ID_PATTERN)
    sample_rate: int = Field(SAMPLE_RATE, ge=1)
    encoding: Encoding = Encoding.PCM_S16LE
    channels: int = Field(1, ge=1)
    resume: str | None = None
    last_seq: int = Field(0, ge=0)
    config: SessionConfig = SessionConfig()

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "Wishes":
        """Read and check wishes.

        Raises
        ------
        InvalidRequestError
            naming the field, what was expected and what came.
        InvalidAudioError
            if the audio format isn't served.

        """
        config = {name: value for name, value in raw.items() if name in _CONFIG_FIELDS and value != ""}
        try:
            wishes = cls(**{**raw, "config": SessionConfig(**config)})
        except ValidationError as error:
            raise InvalidRequestError(_explain(error)) from error
        if (wishes.sample_rate, wishes.channels) != (SAMPLE_RATE, 1):
            raise InvalidAudioError(
                f"Expected {SAMPLE_RATE} Hz and 1 channel, but got {wishes.sample_rate} Hz and "
                f"{wishes.channels}; other formats are not served yet"
            )
        return wishes


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "message"
    return f"{name}: {first['msg']}, but got {str(first['input'])[:80]!r}"


def config_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config message that may change in mid-session, checked."""
    known = {name: value for name, value in changes.items() if name in _CONFIG_FIELDS}
    try:
        checked = SessionConfig(**known)
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
            wishes = {name: value for name, value in said.items() if name != "type"}
            return Start(wishes, Wishes.of(wishes).encoding, config_changes(wishes))
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
    except binascii.Error as error:
        raise InvalidRequestError(f"Expected base64 in chunk, but got {chunk[:40]!r} ({error})") from error
    index, session_id = said.get("index"), said.get("session_id")
    return Audio(
        data,
        index if isinstance(index, int) else None,
        session_id if isinstance(session_id, str) else None,
    )


class NativeEvents:
    """Turns session events into our messages; one per connection, for it knows what was said before.

    The `new_text` values of a segment, joined by spaces, are its final text.
    """

    def __init__(self) -> None:
        self._segment = -1
        self._said = ""

    def write(self, event: bytes) -> str:
        """An event from Redis as a message."""
        body = orjson.loads(event)
        match body["type"]:
            case "partial":
                body["new_text"] = self._new(body["segment"], body["stable"])
            case "final":
                body["new_text"] = self._new(body["segment"], body["text"])
        return orjson.dumps(body).decode()

    def _new(self, segment: int, text: str) -> str:
        if segment != self._segment:
            self._segment, self._said = segment, ""
        new = text.removeprefix(self._said).lstrip()
        self._said = text
        return new
