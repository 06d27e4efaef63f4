"""AssemblyAI's streaming protocol, version 3, `WS /v3/ws` (docs/dialects/assemblyai.md). Pure.

A turn is a segment. While it is open its transcript has the stable words only; then one `Turn` ends it.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
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
    Ping,
    QuotaLow,
    Refusal,
    Reply,
    SessionRequest,
    explain,
    json_of,
)
from api_gateway.handshake import Handshake
from api_gateway.presenters.speakers import lettered
from parlando.domain.annotations import Annotation
from parlando.domain.audio import Encoding
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.decode_options import MOST_SPEAKERS
from parlando.domain.events import Closed, Failure, FinalTranscript, Partial, SessionEvent, SpeechStarted
from parlando.domain.formats import AudioFormat
from parlando.domain.transcript import TimedWord
from parlando.errors import InvalidRequestError, ParlandoError

LIFETIME_S: Final = 3 * 3600  # the `expires_at` of sessions, which the hosted service ends after that time
ENCODINGS: Final = {
    "pcm_s16le": Encoding.PCM_S16LE,
    "pcm_mulaw": Encoding.MULAW,
    "ogg_opus": Encoding.CONTAINER,
    "aac": Encoding.CONTAINER,
}
SHORTEST_SILENCE_MS: Final = 100
LONGEST_SILENCE_MS: Final = 5000
IDLE_S: Final = (5, 3600)  # values of `inactivity_timeout`
NOT_HONOURED: Final = 1  # `warning_code` of parameters without an effect
QUOTA_LOW: Final = 3  # `warning_code` of a quota of which little is left
INVALID: Final = 2  # `warning_code` of a message that was refused
CLOSE_CODES: Final = {
    "not_allowed": 4001,
    "forbidden": 4001,
    "at_capacity": 3009,
    "too_many_sessions": 3009,
    "rate_limited": 3009,
    "quota_exceeded": 4002,
    "unavailable": 1013,
    "idle": 3008,
    "invalid_request": 3006,
    "invalid_audio": 3006,
    "too_big": 3006,
    "session_closed": 3006,
}
"""Error code → close code and `error_code`; 3005 for all others."""

_SILENCE: Final = ("max_turn_silence", "min_turn_silence", "min_end_of_turn_silence_when_confident")
_EFFECTIVE: Final = frozenset(
    {
        "encoding",
        "format_turns",
        "inactivity_timeout",
        "keyterms_prompt",
        "language_code",
        "language_codes",
        "language_detection",
        "prompt",
        "max_speakers",
        "sample_rate",
        "speaker_labels",
        "speech_model",
        "token",
        *_SILENCE,
    }
)


class AssemblyAi(LiveProtocol):
    """One session per connection."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._opened_ms = 0
        self._turn = -1
        self._segment = -1

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session in the query's format, with those of its options that have an effect here."""
        query = self.handshake.query
        if (timeout := _number(query.get("inactivity_timeout"))) is not None:
            self.idle_s = min(max(timeout, IDLE_S[0]), IDLE_S[1])
        encoding = query.get("encoding") or "pcm_s16le"
        if encoding not in ENCODINGS:
            raise InvalidRequestError(
                f"encoding: expected one of {', '.join(ENCODINGS)}, but got {encoding[:40]!r}"
            )
        rate = {"sample_rate": query["sample_rate"]} if query.get("sample_rate") else {}
        try:
            form = AudioFormat(encoding=ENCODINGS[encoding], **rate)
            config = SessionConfig(words=True, **_changes(query))
        except ValidationError as error:
            raise InvalidRequestError(explain(error)) from error
        return SessionRequest(config=config, format=form)

    def greeting(self, session: OpenedSession) -> Sequence[str]:
        """`Begin`, and a `Warning` of parameters without an effect."""
        self._opened_ms = session.epoch
        begin = {"type": "Begin", "id": session.id, "expires_at": session.epoch // 1000 + LIFETIME_S}
        return [_dump(begin), *_warnings(self.handshake.query)]

    # --- from the client --------------------------------------------------------------------------

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio, `UpdateConfiguration`, `ForceEndpoint`, `KeepAlive` or `Terminate`."""
        if isinstance(message, bytes):
            return [Audio(message)]
        match body := json_of(message):
            case {"type": "UpdateConfiguration"}:
                return self._update({name: value for name, value in body.items() if name != "type"})
            case {"type": "ForceEndpoint"}:
                return [Flush()]
            case {"type": "KeepAlive"}:
                return [Ping()]
            case {"type": "Terminate"}:
                return [End()]
        raise InvalidRequestError(
            "Expected type UpdateConfiguration, ForceEndpoint, KeepAlive or Terminate, "
            f"but got {message[:80]!r}"
        )

    def _update(self, fields: dict[str, Any]) -> Sequence[ClientCommand]:
        try:
            config = SessionConfig(**(changes := _changes(fields)))
        except ValidationError as error:
            raise InvalidRequestError(explain(error)) from error
        commands: list[ClientCommand] = [Reply(_warnings(fields))]
        if changes:
            commands.insert(0, Configure(changes=config.model_dump(include=set(changes))))
        return commands

    # --- to the client ----------------------------------------------------------------------------

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """`SpeechStarted`, `Turn`, `Error` and `Termination`."""
        match event:
            case SpeechStarted(start=start):
                return [_dump({"type": "SpeechStarted", "timestamp": _ms(start)})]
            case Partial(text=text) if text:
                return [self._turn_message(event)]
            case FinalTranscript(text=text, segment=segment) if text or segment == self._segment:
                return [self._turn_message(event)]
            case Failure(message=message, code=code):
                return [_error(CLOSE_CODES.get(code, 3005), message)]
            case Closed(duration=duration):
                return [self._termination(duration, event.timestamp)]
        return []

    def _turn_message(self, event: Partial | FinalTranscript) -> str:
        if event.segment != self._segment:
            self._segment = event.segment
            self._turn += 1
        ended = isinstance(event, FinalTranscript)
        settled = event.text if isinstance(event, FinalTranscript) else event.stable
        message = {
            "type": "Turn",
            "turn_order": self._turn,
            "turn_is_formatted": ended,
            "end_of_turn": ended,
            "transcript": settled,
            "end_of_turn_confidence": 1.0 if ended else 0.0,
            "words": _words(event),
            "utterance": settled if ended else "",
        }
        if event.language:
            message["language_code"] = event.language
        if event.speaker:
            message["speaker_label"] = lettered(event.speaker)
        return _dump(message)

    def _termination(self, duration: float, timestamp: str) -> str:
        ended_ms = datetime.fromisoformat(timestamp).timestamp() * 1000
        message = {
            "type": "Termination",
            "audio_duration_seconds": round(duration),
            "session_duration_seconds": max(0, round((ended_ms - self._opened_ms) / 1000)),
        }
        return _dump(message)

    def notice(self, notice: Notice) -> Sequence[str]:
        """A `Warning` of a message that was refused, or of a quota."""
        if isinstance(notice, MessageError):
            return [_warning(INVALID, notice.error.message)]
        if isinstance(notice, QuotaLow):
            text = (
                f"{notice.percent} % of the quota of audio are used; {notice.remaining_ms // 1000} s are left"
            )
            return [_warning(QUOTA_LOW, text)]
        return ()

    def refusal(self, error: ParlandoError) -> Refusal:
        """An `Error`, whose code is the close code too."""
        code = CLOSE_CODES.get(error.code, 3005)
        return Refusal([_error(code, error.message)], code, error.code)

    def close_code(self, closed: Closed) -> int:
        """1000; 3006 after audio that can't be decoded, 3009 if another owner needed the session's place."""
        return {"invalid_audio": 3006, "place_reclaimed": 3009}.get(closed.reason, 1000)


def _warnings(names: Iterable[str]) -> list[str]:
    """A `Warning` of parameters without an effect, if there are any."""
    unknown = sorted(set(names) - _EFFECTIVE)
    text = f"These parameters have no effect here: {', '.join(unknown)[:400]}"
    return [_warning(NOT_HONOURED, text)] if unknown else []


def _changes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a session's config that the parameters set."""
    changes: dict[str, Any] = {}
    silences = [silence for name in _SILENCE if (silence := _number(fields.get(name))) is not None]
    if silences:
        changes["vad_silence_ms"] = int(min(max(*silences, SHORTEST_SILENCE_MS), LONGEST_SILENCE_MS))
    if fields.get("speaker_labels") is not None:
        changes["diarize"] = fields["speaker_labels"]
    if (most := _number(fields.get("max_speakers"))) is not None:
        changes["max_speakers"] = int(min(max(most, 1), MOST_SPEAKERS))
    if fields.get("keyterms_prompt") is not None:
        changes["hotwords"] = ", ".join(_listed(fields["keyterms_prompt"], "keyterms_prompt"))[:1000]
    if fields.get("prompt") is not None:
        changes["prompt"] = str(fields["prompt"])[:2000]
    if fields.get("language_codes"):
        changes["language"] = ",".join(_listed(fields["language_codes"], "language_codes"))
    elif fields.get("language_code"):
        changes["language"] = fields["language_code"]
    elif str(fields.get("speech_model", "")).endswith("-english"):
        changes["language"] = "en"
    return changes


def _number(value: Any) -> float | None:
    """A number of the query or of a message. Raises `InvalidRequestError`."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequestError(f"Expected a number, but got {str(value)[:40]!r}")
    return number


def _listed(value: Any, name: str) -> list[str]:
    """A list of strings, which the query has as JSON. Raises `InvalidRequestError`."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = [value]
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InvalidRequestError(f"{name}: expected a list of strings, but got {str(value)[:80]!r}")
    return found


def _words(event: Partial | FinalTranscript) -> list[dict[str, Any]]:
    """The words with times in ms. Those without times of their own share their segment's time equally."""
    confidence = 1.0 if event.confidence is None else event.confidence
    if isinstance(event, FinalTranscript) and event.words is not None:
        return [_word(word, confidence, event.speaker, final=True) for word in event.words]
    texts = event.text.split()
    stable = len(texts) if isinstance(event, FinalTranscript) else len(event.stable.split())
    each = (event.end - event.start) / len(texts) if texts else 0.0
    words = [
        TimedWord(word=text, start=event.start + place * each, end=event.start + (place + 1) * each)
        for place, text in enumerate(texts)
    ]
    return [_word(word, confidence, event.speaker, final=place < stable) for place, word in enumerate(words)]


def _word(word: TimedWord, confidence: float, speaker: str | None, *, final: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "text": word.word,
        "start": _ms(word.start),
        "end": _ms(word.end),
        "confidence": confidence if word.confidence is None else word.confidence,
        "word_is_final": final,
    }
    return {**body, "speaker": lettered(speaker)} if speaker else body


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _error(code: int, message: str) -> str:
    return _dump({"type": "Error", "error_code": code, "error": message})


def _warning(code: int, message: str) -> str:
    return _dump({"type": "Warning", "warning_code": code, "warning": message})


def _dump(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
