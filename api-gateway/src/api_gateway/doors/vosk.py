"""The protocol of vosk-server, `WS /vosk` (docs/dialects/vosk.md). Pure.

Its clients wait for one answer to each audio message, which is a result if one is ready, else a partial.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError

from api_gateway.doors.base import (
    Ack,
    Audio,
    ClientCommand,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    Refusal,
    SessionRequest,
    explain,
    json_of,
)
from api_gateway.handshake import Handshake
from api_gateway.presenters.error_mapping import mapping_of
from parlando.domain.annotations import Annotation
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import Closed, Failure, FinalTranscript, Flushed, Partial, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError, ParlandoError

SAMPLE_RATE: Final[int] = 8000  # Hz, unless the client sends another: vosk-server's default
WINDOW_S: Final = 5  # its clients never resume
MAX_HOTWORDS: Final = 1000  # characters


class Vosk(LiveProtocol):
    """One answer per audio message; at the end one with all that is left."""

    opens_when_needed = True

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._rate = SAMPLE_RATE
        self._hotwords = ""
        self._with_words = True
        self._alternatives = 0
        self._opened = False
        self._count = 0
        self._finals: list[FinalTranscript] = []
        self._partial = ""

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session of raw PCM as the client's `config` says; `language` may be in the query."""
        self._opened = True
        query = self.handshake.query
        try:
            language = {"language": query["language"]} if query.get("language") else {}
            config = SessionConfig(hotwords=self._hotwords, words=True, **language)
            form = AudioFormat(sample_rate=self._rate)
        except ValidationError as error:
            raise InvalidRequestError(explain(error)) from error
        return SessionRequest(config=config, format=form, window_s=WINDOW_S)

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio, `config`, `eof` or `reset`."""
        if isinstance(message, bytes):
            self._count += 1
            return [Audio(message, self._count)]
        match json_of(message):
            case {"config": dict(config)}:
                return self._configure(config)
            case {"eof": _}:
                return [End()]
            case {"reset": _}:
                return [Flush()]
        raise InvalidRequestError(f"Expected config, eof or reset, but got {message[:80]!r}")

    def _configure(self, config: dict[str, Any]) -> Sequence[ClientCommand]:
        """As vosk-server, which takes the sample rate of a later `config` no more."""
        try:
            self._rate = round(float(config.get("sample_rate", self._rate)))
            self._alternatives = int(config.get("max_alternatives", self._alternatives))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidRequestError(f"Expected numbers in config, but {error}") from error
        self._with_words = bool(config.get("words", self._with_words))
        if "phrase_list" not in config:
            return []
        phrases = config["phrase_list"]
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            raise InvalidRequestError("Expected a list of strings in phrase_list")
        self._hotwords = ", ".join(phrase for phrase in phrases if phrase != "[unk]")[:MAX_HOTWORDS]
        return [Configure(changes={"hotwords": self._hotwords})] if self._opened else []

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """The answer to `reset` and to `eof`. Other text waits until an audio message is answered."""
        match event:
            case Partial(text=text):
                self._partial = text
            case FinalTranscript(text=text):
                self._partial = ""
                if text:
                    self._finals.append(event)
            case Failure(message=message):
                return [_dump({"error": message})]
            case Flushed() | Closed():
                finals, self._finals = self._finals, []
                return [self._result(finals)]
        return []

    def notice(self, notice: Notice) -> Sequence[str]:
        """The answer to an audio message, when it is stored."""
        match notice:
            case Ack(index=int()) if self._finals:
                return [self._result([self._finals.pop(0)])]
            case Ack(index=int()):
                return [_dump({"partial": self._partial})]
            case MessageError(error):
                return [_dump({"error": error.message})]
        return ()

    def _result(self, finals: Sequence[FinalTranscript]) -> str:
        text = " ".join(final.text for final in finals)
        words = [
            {
                "conf": 1.0 if word.confidence is None else word.confidence,
                "end": word.end,
                "start": word.start,
                "word": word.word,
            }
            for final in finals
            for word in final.words or ()
        ]
        result = {"result": words} if words and self._with_words else {}
        if not self._alternatives:
            return _dump({**result, "text": text})
        sure = [final.confidence for final in finals if final.confidence is not None]
        confidence = sum(sure) / len(sure) if sure else 1.0
        return _dump({"alternatives": [{"confidence": confidence, **result, "text": text}]})

    def refusal(self, error: ParlandoError) -> Refusal:
        """A message with the reason, then the close code from `ERROR_MAPPINGS`; vosk-server only closes."""
        return Refusal([_dump({"error": error.message})], mapping_of(error).close, error.code)


def _dump(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
