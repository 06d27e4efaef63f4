"""Events that a change of language and the end of a session cause. Pure."""

from parlando.domain.audio import milliseconds, samples, seconds
from parlando.domain.commands import End
from parlando.domain.events import (
    Closed,
    Failure,
    FinalTranscript,
    LanguageFound,
    PersistedEvent,
    Status,
)
from transcriber.pipeline.language import LanguageChange


def language_event(sid: str, change: LanguageChange) -> LanguageFound:
    """The event of a change of the session's language."""
    found = change.found
    probability = round(found.probability, 4)
    return LanguageFound(
        session_id=sid, language=found.language, probability=probability, locked=change.locked
    )


def covering(event: PersistedEvent, covers: int) -> PersistedEvent:
    """The event with the sample before which all audio is in finals."""
    return event.model_copy(update={"covers": covers})


def closing_events(sid: str, end: End, *, received: int, segments: int) -> list[PersistedEvent]:
    """A final if there was none, lost audio, the error, and `Closed`.

    `received`: samples of the session. `segments`: finals before these events.
    """
    events: list[PersistedEvent] = []
    if not segments:
        events.append(_no_speech(sid, received))
    if end.lost:
        events.append(Status(session_id=sid, status="lost", ms=milliseconds(end.lost), reason=end.reason))
    if end.error is not None:
        events.append(Failure(session_id=sid, **end.error.model_dump()))
    closed = Closed(session_id=sid, duration=seconds(received), segments=max(1, segments), reason=end.reason)
    return [*events, closed]


def _no_speech(sid: str, received: int) -> FinalTranscript:
    reason = "too_short" if received < samples(100) else "no_speech"
    return FinalTranscript(
        session_id=sid, segment=0, text="", start=0.0, end=seconds(received), reason=reason
    )
