"""The events of a session as they lie in Redis and go to clients (docs/protocols.md).

*Kept* events carry a `seq` that counts up by one per session and can be read again later;
the others are only published. Times in seconds of the session's audio.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from parlando.domain.transcript import FinalSegment, TimedWord


def now() -> str:
    """The wall clock as ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age_s(timestamp: str) -> float:
    """Seconds since a time as `now` writes it, by this machine's clock; never less than 0."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())


class Event(BaseModel):
    """What every event has."""

    session_id: str
    timestamp: str = Field(default_factory=now)


class Persisted(Event):
    """An event with a place in the session's history.

    `epoch`: of the numbering: the time at which the session was opened, in unix milliseconds. A session that
    was opened anew under its id counts in another epoch. `covers`: samples before which all audio is in
    finals up to this event.
    """

    seq: int = 0
    epoch: int = 0
    covers: int | None = None


class SpeechStarted(Event):
    """The voice detector heard speech begin."""

    type: Literal["speech_started"] = "speech_started"
    segment: int
    start: float


class Partial(Event):
    """What is known of an open segment. `stable` is a beginning of `text` that never changes again.

    `lag_ms` is added by the script that publishes it: received minus decoded audio.
    """

    type: Literal["partial"] = "partial"
    segment: int
    text: str
    stable: str
    start: float
    end: float
    confidence: float | None = None
    language: str | None = None
    speaker: str | None = None
    lag_ms: int | None = None


class FinalTranscript(Persisted):
    """The settled text of a segment; `reason` says why if there is none.

    `language` (ISO 639-1) and `speaker` are None where nobody told them. `translations`: language → text.
    """

    type: Literal["final"] = "final"
    segment: int
    text: str
    start: float
    end: float
    confidence: float | None = None
    language: str | None = None
    speaker: str | None = None
    translations: dict[str, str] | None = None
    words: list[TimedWord] | None = None
    reason: str | None = None

    def settled(self) -> FinalSegment:
        """The final as a part of a transcript."""
        return FinalSegment(
            segment=self.segment,
            start=self.start,
            end=self.end,
            text=self.text,
            confidence=self.confidence,
            language=self.language,
            speaker=self.speaker,
            translations=self.translations,
            words=tuple(self.words or ()),
            reason=self.reason,
        )


class Status(Persisted):
    """Something the client should know: lost audio, say. `ms` counts the audio concerned."""

    type: Literal["status"] = "status"
    status: str
    ms: int = 0
    reason: str = ""


class Flushed(Persisted):
    """The answer to a flush: everything sent before it is settled."""

    type: Literal["flushed"] = "flushed"


class Failure(Persisted):
    """What ended the session before its time: audio that can't be decoded, say."""

    type: Literal["error"] = "error"
    code: str
    message: str
    retryable: bool = False


class Closed(Persisted):
    """The last event of every session."""

    type: Literal["closed"] = "closed"
    duration: float
    segments: int
    reason: str


PersistedEvent = FinalTranscript | Status | Flushed | Failure | Closed
SessionEvent = SpeechStarted | Partial | PersistedEvent
EVENTS: TypeAdapter[SessionEvent] = TypeAdapter(Annotated[SessionEvent, Field(discriminator="type")])


def encode(event: Event) -> bytes:
    """An event as JSON without empty optional fields."""
    return event.model_dump_json(exclude_none=True).encode()
