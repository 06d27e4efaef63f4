"""The audio and words just before a segment, which improve the recognition of the segment. Pure."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from parlando.domain.audio import SAMPLE_RATE
from transcriber.engines.base import Word, dump_words, load_words
from transcriber.pipeline.agreement import Words

MAX_GAP: Final = 2 * SAMPLE_RATE  # samples of silence that end the context


class SettledContext:
    """The last final segments, kept while they may serve as context of up to `reach` samples."""

    def __init__(self, reach: int, state: Sequence[dict[str, Any]] = ()) -> None:
        self.reach = reach
        self._segments = deque((s["start"], s["end"], load_words(s["words"])) for s in state)

    def add(self, start: int, end: int, words: Words) -> None:
        """Add a final segment [start, end), in samples."""
        if self.reach:
            self._segments.append((start, end, words))
            while self._segments and end - self._segments[0][0] > self.reach:
                self._segments.popleft()

    def before(self, start: int) -> tuple[int, tuple[Word, ...]]:
        """The context of a segment that begins at `start`: its first sample, and its words."""
        begin, words = start, ()
        for first, last, earlier in reversed(self._segments):
            if start - first > self.reach or begin - last >= MAX_GAP:
                break
            begin, words = first, earlier + words
        return begin, words

    def dump(self) -> list[dict[str, Any]]:
        """The state, JSON-able."""
        return [
            {"start": start, "end": end, "words": dump_words(words)} for start, end, words in self._segments
        ]
