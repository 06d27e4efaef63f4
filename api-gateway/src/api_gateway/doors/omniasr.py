"""The protocol of omniASR-server, `WS /v1/audio/transcriptions` (docs/dialects/omniasr.md). Pure."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError

from api_gateway.doors.base import (
    Audio,
    ClientCommand,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    OpenedSession,
    Refusal,
    SessionRequest,
    Start,
    explain,
)
from api_gateway.handshake import Handshake
from api_gateway.presenters.error_mapping import mapping_of
from parlando.domain.annotations import Annotation
from parlando.domain.commands import Configure, End
from parlando.domain.config import SessionConfig
from parlando.domain.events import Closed, Failure, FinalTranscript, Partial, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.domain.pools import pool_name
from parlando.errors import InvalidRequestError, ParlandoError

MAX_INTERIM: Final = 20_000  # characters of confirmed text in a message that isn't the last one


class OmniAsr(LiveProtocol):
    """One transcript per connection: every message has its whole text, and the last one is final."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._has_audio = False
        self._finals: list[str] = []
        self._confirmed = ""
        self._lag_ms = 0
        self._end = 0.0  # seconds of audio that the text covers

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session of raw PCM, with the query's `sample_rate` and `language`."""
        query = self.handshake.query
        fields = {name: query[name] for name in ("sample_rate", "language") if query.get(name)}
        form, changes = _parsed(fields)
        return SessionRequest(config=SessionConfig(**changes), format=form)

    def greeting(self, session: OpenedSession) -> Sequence[str]:
        """The `ready` message."""
        model = pool_name(session.engine, session.model or "") if session.engine else None
        return [_dump({"type": "ready", "sample_rate": session.format.sample_rate, "model": model})]

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio, `config` or `end`. Other text is ignored, as omniASR-server does."""
        if isinstance(message, bytes):
            self._has_audio = True
            return [Audio(message)]
        try:
            body = orjson.loads(message)
        except orjson.JSONDecodeError:
            return []
        match body:
            case {"type": "config"}:
                return self._config(body)
            case {"type": "end"}:
                return [End()]
        return []

    def _config(self, fields: dict[str, Any]) -> Sequence[ClientCommand]:
        form, changes = _parsed(fields)
        if "sample_rate" in fields and not self._has_audio:
            return [Start(fields, form, changes)]
        return [Configure(changes=changes)] if changes else []

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """The text so far, with each partial and final; the whole text at the end."""
        match event:
            case Partial(text=text, stable=stable, lag_ms=lag_ms):
                self._lag_ms = lag_ms or 0
                return [self._message(event.end, stable, text.removeprefix(stable).strip())]
            case FinalTranscript(text=text) if text:
                self._finals.append(text)
                self._confirmed = f"{self._confirmed} {text}".strip()[-MAX_INTERIM:]
                return [self._message(event.end)]
            case Failure(message=message):
                return [_error(message)]
            case Closed(reason="end" | "quota_exceeded", duration=duration):
                self._confirmed = " ".join(self._finals)
                return [self._message(duration, is_final=True)]
        return []

    def _message(self, end: float, stable: str = "", pending: str = "", *, is_final: bool = False) -> str:
        confirmed = f"{self._confirmed} {stable}".strip()
        self._end = max(self._end, end)  # a final may end before its last partial
        body = {
            "text": f"{confirmed} {pending}".strip(),
            "confirmed_text": confirmed,
            "pending_text": pending,
            "is_final": is_final,
            "latency_ms": self._lag_ms,
            "audio_duration": self._end,
        }
        return _dump(body)

    def notice(self, notice: Notice) -> Sequence[str]:
        """An error of a message. The protocol has no other notices."""
        return [_error(notice.error.message)] if isinstance(notice, MessageError) else ()

    def refusal(self, error: ParlandoError) -> Refusal:
        """An `error` message, then the close code from `ERROR_MAPPINGS`: 1013 at capacity."""
        return Refusal([_error(error.message)], mapping_of(error).close, error.code)


def _parsed(fields: dict[str, Any]) -> tuple[AudioFormat, dict[str, Any]]:
    """The format and the changes of the config. Raises `InvalidRequestError`."""
    try:
        form = AudioFormat(sample_rate=fields["sample_rate"]) if fields.get("sample_rate") else AudioFormat()
        if not fields.get("language"):
            return form, {}
        return form, {"language": SessionConfig(language=fields["language"]).language}
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error


def _error(message: str) -> str:
    return _dump({"type": "error", "message": message})


def _dump(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
