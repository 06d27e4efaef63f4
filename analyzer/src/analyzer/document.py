"""The text that is analysed: the segments of a transcript. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from parlando.domain.transcript import FinalSegment


@dataclass(frozen=True, slots=True)
class Passage:
    """A segment with text. `start`, `end`: in seconds of the audio. `translations`: by language."""

    segment: int
    text: str
    start: float
    end: float
    speaker: str | None = None
    translations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """A transcript, or one segment of it. `language`: ISO 639-1 code; None if unknown."""

    passages: tuple[Passage, ...]
    language: str | None = None

    @classmethod
    def of(cls, segments: Iterable[FinalSegment], language: str | None = None) -> "Document":
        """The segments that have text. `language`: if the segments don't say it."""
        kept = [segment for segment in segments if segment.text.strip()]
        passages = tuple(
            Passage(s.segment, s.text, s.start, s.end, s.speaker, s.translations or {}) for s in kept
        )
        return cls(passages, next((s.language for s in kept if s.language), language))

    @property
    def text(self) -> str:
        """The text of all passages."""
        return " ".join(passage.text for passage in self.passages)
