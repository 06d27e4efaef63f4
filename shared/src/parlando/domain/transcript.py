"""Results of recognition: words, final segments, transcripts."""

import re
from collections.abc import Iterable, Mapping, Sequence
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


class SpeakerRun(BaseModel):
    """Successive words of a segment with one speaker; None if the speaker is unknown."""

    model_config = ConfigDict(frozen=True)

    words: int
    speaker: str | None = None


class FinalSegment(BaseModel):
    """The final text of one utterance. Times in seconds of the session's or job's audio.

    `speaker`: the label of its speaker. `speaker_name`: the name that the speaker was given, in transcripts.
    """

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
    speaker_name: str | None = None
    translations: dict[str, str] | None = None

    @property
    def voice(self) -> str | None:
        """Who speaks, for readers: the speaker's name, or else the label."""
        return self.speaker_name or self.speaker

    def named(self, names: Mapping[str, str]) -> "FinalSegment":
        """The segment with the name of its speaker, if it has one in `names` (label → name)."""
        name = names.get(self.speaker or "")
        return self.model_copy(update={"speaker_name": name}) if name else self

    def spoken_by(self, speaker: str | None) -> "FinalSegment":
        """The segment, and its words if they have a speaker, with this speaker."""
        words = tuple(w.model_copy(update={"speaker": speaker}) if w.speaker else w for w in self.words)
        return self.model_copy(update={"speaker": speaker, "words": words})

    def divided(self, runs: Sequence[SpeakerRun], *, language: str | None) -> "list[FinalSegment]":
        """A segment for each run of its words. `language`: that of the text.

        A segment with a translation isn't divided: its speaker is the one of most words.
        """
        if not runs:
            return [self]
        if len(runs) == 1 or self.translations or sum(run.words for run in runs) != len(self.words):
            longest = max(runs, key=lambda run: run.words)
            return [self._with(self.words, longest.speaker)]
        parts, start = [], 0
        for run in runs:
            words = self.words[start : start + run.words]
            part = self._with(words, run.speaker)
            update: dict[str, Any] = {"text": join([word.word for word in words], language)}
            if start:
                update["start"] = words[0].start
            start += run.words
            if start < len(self.words):
                update["end"] = words[-1].end
            parts.append(part.model_copy(update=update))
        return parts

    def _with(self, words: Sequence[TimedWord], speaker: str | None) -> "FinalSegment":
        labelled = tuple(word.model_copy(update={"speaker": speaker}) for word in words)
        return self.model_copy(update={"speaker": speaker, "words": labelled})


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

    def named(self, names: Mapping[str, str]) -> "Transcript":
        """The transcript with the names of its speakers; `names`: label → name."""
        if not names:
            return self
        return self.model_copy(update={"segments": tuple(each.named(names) for each in self.segments)})

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
