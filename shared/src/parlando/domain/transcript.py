"""What recognition yields: words, finals, and the transcript that they make."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

_BARE = re.compile(r"[^\w']+", re.UNICODE)


def bare(word: str) -> str:
    """A word without case and punctuation: the form in which hypotheses are compared."""
    return _BARE.sub("", word).casefold()


UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "yue", "zh"})
"""Languages written without spaces between words."""


def join(words: Iterable[str], language: str | None) -> str:
    """Words as one line, in the manner of the language."""
    return ("" if language in UNSPACED else " ").join(words)


class TimedWord(BaseModel):
    """One word of a final. Times in seconds of the session's audio."""

    model_config = ConfigDict(frozen=True)

    word: str
    start: float
    end: float
    confidence: float | None = None


class FinalSegment(BaseModel):
    """The settled text of one utterance. Times in seconds of the session's (or the job's) audio."""

    model_config = ConfigDict(frozen=True)

    segment: int
    start: float
    end: float
    text: str
    confidence: float | None = None
    language: str | None = None
    words: tuple[TimedWord, ...] = ()
    reason: str | None = None
    speaker: str | None = None
    translations: dict[str, str] | None = None


class Transcript(BaseModel):
    """All finals of a session (or a job) so far, in order."""

    session_id: str
    title: str | None = None
    state: str
    duration: float
    language: str | None
    text: str
    segments: tuple[FinalSegment, ...]
    annotations: tuple[dict[str, Any], ...] | None = None
    """What followers say of it, if that was asked for; see `annotations.Annotation`."""

    @classmethod
    def of(
        cls,
        session_id: str,
        *,
        state: str,
        duration: float,
        segments: Iterable[FinalSegment],
        language: str | None = None,
        title: str | None = None,
    ) -> "Transcript":
        """The transcript made of `segments`; finals without text stay in it, with their reason."""
        kept = tuple(segments)
        spoken = [segment for segment in kept if segment.text]
        return cls(
            session_id=session_id,
            title=title,
            state=state,
            duration=duration,
            language=next((s.language for s in spoken if s.language), language),
            text=" ".join(segment.text for segment in spoken),
            segments=kept,
        )
