"""Results of recognition: words, final segments, transcripts."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from parlando.errors import InvalidRequestError

_BARE = re.compile(r"[^\w']+", re.UNICODE)


def bare(word: str) -> str:
    """A word case-folded and without punctuation, for comparing hypotheses."""
    return _BARE.sub("", word).casefold()


UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "yue", "zh"})
"""Languages written without spaces between words."""


def join(words: Iterable[str], language: str | None) -> str:
    """Words joined to one line, with spaces if the language uses them."""
    return ("" if language in UNSPACED else " ").join(words)


class TimedWord(BaseModel):
    """One word of a final segment. Times in seconds of the session's audio."""

    model_config = ConfigDict(frozen=True)

    word: str
    start: float
    end: float
    confidence: float | None = None
    speaker: str | None = None


class FinalSegment(BaseModel):
    """The final text of one utterance. Times in seconds of the session's or job's audio."""

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

    def spoken_by(self, speaker: str | None) -> "FinalSegment":
        """The segment, and its words if they have a speaker, with this speaker."""
        words = tuple(w.model_copy(update={"speaker": speaker}) if w.speaker else w for w in self.words)
        return self.model_copy(update={"speaker": speaker, "words": words})


class Transcript(BaseModel):
    """All final segments of a session or job so far, in order."""

    session_id: str
    title: str | None = None
    state: str
    duration: float
    language: str | None
    text: str
    segments: tuple[FinalSegment, ...]
    annotations: tuple[dict[str, Any], ...] | None = None
    """Annotations by followers, if requested; see `annotations.Annotation`."""

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
        """The transcript of `segments`. Segments without text are kept, with their reason."""
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

    def translated(self, language: str) -> "Transcript":
        """The transcript in `language`, without words; a segment without that translation keeps its text.

        Raises
        ------
        InvalidRequestError
            if there is text, but none of it is in `language`

        """
        spoken = [segment for segment in self.segments if segment.text]
        found = {s.language for s in spoken if s.language} | {k for s in spoken for k in s.translations or {}}
        if spoken and language not in found:
            languages = ", ".join(sorted(found)) or "none"
            raise InvalidRequestError(
                f"Expected a language that the transcript has ({languages}), but got {language}"
            )
        segments = tuple(_translated(segment, language) for segment in self.segments)
        text = " ".join(segment.text for segment in segments if segment.text)
        return self.model_copy(update={"segments": segments, "text": text, "language": language})


def _translated(segment: FinalSegment, language: str) -> FinalSegment:
    text = (segment.translations or {}).get(language)
    if text is None:
        return segment
    return segment.model_copy(update={"text": text, "language": language, "words": ()})
