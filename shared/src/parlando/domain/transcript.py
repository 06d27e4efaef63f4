"""Results of recognition: words, final segments, transcripts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from parlando.domain.known_speakers import Recognised
from parlando.errors import InvalidRequestError

_BARE = re.compile(r"[^\w']+", re.UNICODE)

LONGEST_PAUSE_S: Final = 5.0
"""A sentence doesn't go on behind a longer pause."""


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
    """Successive words of a segment with one speaker; None if the speaker is unknown.

    `recognised`: the known speaker who it is.
    """

    model_config = ConfigDict(frozen=True)

    words: int
    speaker: str | None = None
    recognised: Recognised | None = None


def named_fields(recognised: Recognised | None) -> dict[str, Any]:
    """The fields `speaker_name` and `speaker_score` of a segment."""
    return {
        "speaker_name": recognised.name if recognised else None,
        "speaker_score": recognised.score if recognised else None,
    }


class FinalSegment(BaseModel):
    """The final text of one utterance. Times in seconds of the session's or job's audio.

    `speaker`: the label of its speaker. `speaker_name`: the name that the speaker was given, in transcripts,
    or that of the known speaker who was recognised, with `speaker_score`. `original`: what was recognised, if
    `text` is a correction.
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
    speaker_score: float | None = None
    translations: dict[str, str] | None = None
    original: str | None = None

    @property
    def voice(self) -> str | None:
        """Who speaks, for readers: the speaker's name, or else the label."""
        return self.speaker_name or self.speaker

    def named(self, names: Mapping[str, str]) -> "FinalSegment":
        """The segment with the name of its speaker, if it has one in `names` (label → name)."""
        name = names.get(self.speaker or "")
        return self.model_copy(update={"speaker_name": name, "speaker_score": None}) if name else self

    def spoken_by(self, speaker: str | None, recognised: Recognised | None = None) -> "FinalSegment":
        """The segment, and its words if they have a speaker, with this speaker."""
        words = tuple(w.model_copy(update={"speaker": speaker}) if w.speaker else w for w in self.words)
        return self.model_copy(update={"speaker": speaker, "words": words, **named_fields(recognised)})

    def divided(self, runs: Sequence[SpeakerRun], *, language: str | None) -> "list[FinalSegment]":
        """A segment for each run of its words. `language`: that of the text.

        A segment with a translation isn't divided: its speaker is the one of most words.
        """
        if not runs:
            return [self]
        if len(runs) == 1 or self.translations or sum(run.words for run in runs) != len(self.words):
            longest = max(runs, key=lambda run: run.words)
            return [self._with(self.words, longest)]
        parts, start = [], 0
        for run in runs:
            words = self.words[start : start + run.words]
            part = self._with(words, run)
            update: dict[str, Any] = {"text": join([word.word for word in words], language)}
            if start:
                update["start"] = words[0].start
            start += run.words
            if start < len(self.words):
                update["end"] = words[-1].end
            parts.append(part.model_copy(update=update))
        return parts

    def _with(self, words: Sequence[TimedWord], run: SpeakerRun) -> "FinalSegment":
        labelled = tuple(word.model_copy(update={"speaker": run.speaker}) for word in words)
        found = {"speaker": run.speaker, "words": labelled, **named_fields(run.recognised)}
        return self.model_copy(update=found)


def unbroken(segments: Sequence[FinalSegment]) -> list[FinalSegment]:
    """Successive segments, without the full stops that the next segment shows to be wrong.

    A segment that begins with a small letter goes on the sentence before it. Its speaker paused there, and
    the final with the full stop had to be sent before the rest was known.
    """
    found = list(segments)
    for place, (segment, after) in enumerate(pairwise(segments)):
        goes_on = after.text[:1].islower() and segment.voice == after.voice
        goes_on = goes_on and after.start - segment.end <= LONGEST_PAUSE_S
        if not goes_on or not _ends_with_full_stop(segment.text):
            continue
        words = segment.words
        if words and words[-1].word.endswith("."):
            words = (*words[:-1], words[-1].model_copy(update={"word": words[-1].word[:-1]}))
        found[place] = segment.model_copy(update={"text": segment.text[:-1], "words": words})
    return found


def _ends_with_full_stop(text: str) -> bool:
    """Whether the last word has one full stop, at its end: not "p.m." or "U.S.", and not dots alone."""
    last = text.split()[-1] if text.split() else ""
    return last.endswith(".") and last.count(".") == 1 and len(last) > 1


def text_of(segments: Iterable[FinalSegment]) -> str:
    """The text of segments, joined to whole sentences."""
    return " ".join(segment.text for segment in unbroken([each for each in segments if each.text]))


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
            text=text_of(spoken),
            segments=kept,
        )

    def named(self, names: Mapping[str, str]) -> "Transcript":
        """The transcript with the names of its speakers; `names`: label → name."""
        if not names:
            return self
        return self.model_copy(update={"segments": tuple(each.named(names) for each in self.segments)})

    def anonymous(self) -> "Transcript":
        """The transcript without its speakers."""
        without = {"speaker": None, "speaker_name": None, "speaker_score": None}
        segments = tuple(each.spoken_by(None).model_copy(update=without) for each in self.segments)
        return self.model_copy(update={"segments": segments})

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
        return self.model_copy(update={"segments": segments, "text": text_of(segments), "language": language})


def _translated(segment: FinalSegment, language: str) -> FinalSegment:
    text = (segment.translations or {}).get(language)
    if text is None:
        return segment
    return segment.model_copy(update={"text": text, "language": language, "words": ()})
