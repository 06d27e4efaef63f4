"""The Wyoming protocol of Home Assistant, on TCP (docs/dialects/wyoming.md). Pure.

A connection carries any number of utterances, each from `audio-start` to `audio-stop`. They are one session,
in which each `audio-stop` is a flush; so its answer has exactly the words of its utterance.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError

from api_gateway.doors.appended import AppendedText
from api_gateway.doors.base import (
    Audio,
    ClientCommand,
    Describe,
    Described,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    Ping,
    Pong,
    Refusal,
    SessionRequest,
    explain,
)
from api_gateway.handshake import Handshake
from parlando import __version__
from parlando.domain.annotations import Annotation
from parlando.domain.commands import Configure, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import Failure, FinalTranscript, Flushed, Partial, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.domain.languages import NAMES
from parlando.domain.pools import Pool
from parlando.errors import InvalidRequestError, ParlandoError

WIDTH: Final = 2  # bytes of a sample
WINDOW_S: Final = 5  # its clients never resume
MAX_HOTWORDS: Final = 1000  # characters
OTHER_SERVICES: Final = ("tts", "handle", "intent", "wake", "mic", "snd")


class Wyoming(LiveProtocol):
    """One session per connection, opened with its first audio."""

    keyless = True
    opens_when_needed = True

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._options = SessionConfig()  # those of the next utterance
        self._applied: SessionConfig | None = None  # those of the session; None before it is opened
        self._format = AudioFormat()
        self._pings: deque[str | None] = deque()
        self._text = AppendedText()
        self._started = False
        self._language: str | None = None

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session in the format and with the options of the first utterance."""
        self._applied = self._options
        return SessionRequest(config=self._options, format=self._format, window_s=WINDOW_S)

    # --- from the client --------------------------------------------------------------------------

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """One event. Events that a speech recogniser doesn't know are ignored."""
        assert isinstance(message, bytes)
        line, _, payload = message.partition(b"\n")
        event = orjson.loads(line)
        data: dict[str, Any] = event["data"]
        match event["type"]:
            case "describe":
                return [Describe()]
            case "ping":
                self._pings.append(data.get("text"))
                return [Ping()]
            case "transcribe":
                self._options = _options(data)
            case "audio-start":
                self._check(data)
                return self._changes()
            case "audio-chunk":
                self._check(data)
                return [Audio(payload)]
            case "audio-stop":
                return [Flush()]
        return []

    def _check(self, data: dict[str, Any]) -> None:
        """Take the audio's format, which can't change after the first audio. Raises `InvalidRequestError`."""
        if data.get("width", WIDTH) != WIDTH:
            raise InvalidRequestError(f"Expected a width of {WIDTH} bytes, but got {str(data['width'])[:20]}")
        try:
            form = AudioFormat(sample_rate=data.get("rate", 16_000), channels=data.get("channels", 1))
        except ValidationError as error:
            raise InvalidRequestError(explain(error)) from error
        if self._applied is not None and form != self._format:
            raise InvalidRequestError(
                f"Expected {self._format.sample_rate} Hz and {self._format.channels} channels as before; "
                "connect again for another format"
            )
        self._format = form

    def _changes(self) -> Sequence[ClientCommand]:
        """What an utterance changes in the session's config."""
        if self._applied is None:
            return []
        fields = ("language", "hotwords")
        changes = {
            name: getattr(self._options, name)
            for name in fields
            if getattr(self._options, name) != getattr(self._applied, name)
        }
        self._applied = self._options
        return [Configure(changes=changes)] if changes else []

    # --- to the client ----------------------------------------------------------------------------

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """Chunks of text as it becomes stable; at the end of an utterance the whole of it."""
        match event:
            case Partial() | FinalTranscript():
                self._language = event.language or self._language
                new = self._text.append(event)
                return [*self._start(), _event("transcript-chunk", text=new)] if new else []
            case Flushed():
                start, text = self._start(), self._text.text
                transcript = _event("transcript", text=text, **self._spoken)
                self._text.clear()
                self._started, self._language = False, None
                return [*start, transcript, _event("transcript-stop")]
            case Failure(message=message, code=code):
                return [_event("error", text=message, code=code)]
        return []

    def _start(self) -> list[str]:
        if self._started:
            return []
        self._started = True
        return [_event("transcript-start", **self._spoken)]

    @property
    def _spoken(self) -> dict[str, str]:
        return {"language": self._language} if self._language else {}

    def notice(self, notice: Notice) -> Sequence[str]:
        """A `pong`, `info` or `error`."""
        match notice:
            case Pong():
                return [_event("pong", text=self._pings.popleft())]
            case Described(pools):
                return [_event("info", asr=[_program(pools)], **{name: [] for name in OTHER_SERVICES})]
            case MessageError(error):
                return [_event("error", text=error.message, code=error.code)]
        return ()

    def refusal(self, error: ParlandoError) -> Refusal:
        """An `error` event; then the connection is closed."""
        return Refusal([_event("error", text=error.message, code=error.code)], 0, error.code)


def _options(data: dict[str, Any]) -> SessionConfig:
    """The options of a `transcribe` event. Raises `InvalidRequestError`."""
    terms = [*_strings(data, "transcript_names"), *_strings(data, "transcript_terms")]
    language = {"language": data["language"]} if data.get("language") else {}
    try:
        return SessionConfig(hotwords=", ".join(terms)[:MAX_HOTWORDS], **language)
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error


def _strings(data: dict[str, Any], name: str) -> list[str]:
    found = data.get(name) or []
    if not isinstance(found, list) or not all(isinstance(term, str) for term in found):
        raise InvalidRequestError(f"Expected a list of strings in {name}")
    return found


def _program(pools: Iterable[Pool]) -> dict[str, Any]:
    models = [
        {
            **_artifact(pool.name, f"{pool.engine} with the model {pool.model}", pool.engine),
            "languages": sorted(pool.languages or NAMES),
        }
        for pool in pools
        if "transcribe" in pool.tasks
    ]
    return {
        **_artifact("parlando", "Parlando, live speech recognition", "Parlando"),
        "installed": bool(models),
        "models": models,
        "supports_transcript_streaming": True,
        "requires_external_vad": True,
    }


def _artifact(name: str, description: str, maker: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "attribution": {"name": maker, "url": ""},
        "installed": True,
        "version": __version__,
    }


def _event(kind: str, **data: Any) -> str:
    return orjson.dumps({"type": kind, "data": data}).decode()
