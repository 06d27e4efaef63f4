"""The events of a session, as stored in Redis and sent to clients (docs/protocols.md).

*Kept* events have a `seq`, which increases by one per event of the session, and can be read again later.
The others are only published. Times are in seconds of the session's audio.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from parlando.domain.known_speakers import Recognised
from parlando.domain.transcript import FinalSegment, TimedWord, named_fields


def now() -> str:
    """The current time as ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age_s(timestamp: str) -> float:
    """Seconds since a timestamp written by `now`, by this machine's clock; at least 0."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())


class Event(BaseModel):
    """Fields common to all events."""

    session_id: str
    timestamp: str = Field(default_factory=now)


class Persisted(Event):
    """An event kept in the session's history.

    `epoch`: identifies the numbering: when the session was opened, in unix milliseconds. A session reopened
    under the same id has another epoch. `covers`: all samples before this one are in finals up to this event.
    """

    seq: int = 0
    epoch: int = 0
    covers: int | None = None


class SpeechStarted(Event):
    """The voice detector has detected the beginning of speech."""

    type: Literal["speech_started"] = "speech_started"
    segment: int
    start: float


class Partial(Event):
    """The current hypothesis of an open segment. `stable`: the prefix of `text` that no longer changes.

    `paused`: True if the speaker has paused and `text` is the final's, unless speech continues.
    `lag_ms`: received minus decoded audio; added by the script that publishes the event.
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
    speaker_name: str | None = None
    paused: Literal[True] | None = None
    lag_ms: int | None = None

    def so_far(self) -> FinalSegment:
        """The segment as it would be if it ended with this partial."""
        return FinalSegment(
            segment=self.segment,
            start=self.start,
            end=self.end,
            text=self.text,
            confidence=self.confidence,
            language=self.language,
            speaker=self.speaker,
            speaker_name=self.speaker_name,
        )


class FinalTranscript(Persisted):
    """The final text of a segment. `reason`: why `text` is empty.

    `language` (ISO 639-1) is the spoken one, also if `text` is a translation; it and `speaker` are None if
    unknown. `translations`: language → text. `continues`: True if a long segment was cut here although the
    speaker hasn't paused for as long as a segment's end needs. `speaker_name`: the known speaker who was
    recognised, with `speaker_score`. `recognised`: of all labels, for segments into which it is divided.
    """

    type: Literal["final"] = "final"
    segment: int
    text: str
    start: float
    end: float
    confidence: float | None = None
    language: str | None = None
    speaker: str | None = None
    speaker_name: str | None = None
    speaker_score: float | None = None
    translations: dict[str, str] | None = None
    words: list[TimedWord] | None = None
    reason: str | None = None
    continues: Literal[True] | None = None
    recognised: dict[str, Recognised] = Field({}, exclude=True)

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
            speaker_name=self.speaker_name,
            speaker_score=self.speaker_score,
            translations=self.translations,
            words=tuple(self.words or ()),
            reason=self.reason,
        )


class Status(Persisted):
    """A notice for the client, for example about lost audio. `ms`: length of the affected audio.

    One of the audio-processor, about timestamps, isn't kept: its `seq` is 0.
    """

    type: Literal["status"] = "status"
    status: str
    ms: int = 0
    reason: str = ""


class LanguageFound(Persisted):
    """The session's language is known from here on (`locked`), or is detected again in each segment.

    `probability`: of the last detection, in [0, 1].
    """

    type: Literal["language"] = "language"
    language: str
    probability: float
    locked: bool


class SpeakerOfSegment(BaseModel):
    """The speaker of a segment; None if it is unknown. Name and score are those of a known one."""

    segment: int
    speaker: str | None = None
    speaker_name: str | None = None
    speaker_score: float | None = None

    @classmethod
    def of(cls, segment: int, speaker: str | None, recognised: Recognised | None) -> "SpeakerOfSegment":
        """The speaker of a segment, who may be a known one."""
        return cls(segment=segment, speaker=speaker, **named_fields(recognised))

    @property
    def recognised(self) -> Recognised | None:
        """The known speaker."""
        if self.speaker_name is None or self.speaker_score is None:
            return None
        return Recognised(name=self.speaker_name, score=self.speaker_score)


class SpeakersRevised(Persisted):
    """The speakers of earlier segments as they are known now, of sessions with `diarize`."""

    type: Literal["speakers_revised"] = "speakers_revised"
    segments: list[SpeakerOfSegment]


class Flushed(Persisted):
    """The reply to a flush: all audio sent before it is settled."""

    type: Literal["flushed"] = "flushed"


class Failure(Persisted):
    """The error that ended the session early, for example undecodable audio."""

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


PersistedEvent = FinalTranscript | LanguageFound | SpeakersRevised | Status | Flushed | Failure | Closed
SessionEvent = SpeechStarted | Partial | PersistedEvent
EVENTS: TypeAdapter[SessionEvent] = TypeAdapter(Annotated[SessionEvent, Field(discriminator="type")])


def settled(events: Iterable[SessionEvent]) -> list[FinalSegment]:
    """The segments of a session's finals, each with its latest speaker."""
    found: dict[int, FinalSegment] = {}
    for event in events:
        if isinstance(event, FinalTranscript):
            found[event.segment] = event.settled()
        elif isinstance(event, SpeakersRevised):
            for each in event.segments:
                if each.segment in found:
                    found[each.segment] = found[each.segment].spoken_by(each.speaker, each.recognised)
    return list(found.values())


def encode(event: Event) -> bytes:
    """Encode an event as JSON without fields that are None."""
    return event.model_dump_json(exclude_none=True).encode()
