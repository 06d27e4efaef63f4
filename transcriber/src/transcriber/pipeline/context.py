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
        """Add a final segment [start, end), in samples. Times of its words are seconds of the segment."""
        if self.reach:
            self._segments.append((start, end, words))
            while len(self._segments) > 1 and end - self._segments[0][0] > self.reach:
                self._segments.popleft()

    def needs_times(self, length: int) -> bool:
        """Whether a segment of `length` samples may be context only if its words have times.

        The next segment may begin up to `MAX_GAP` later, and then it is too long to be context whole.
        """
        return self.reach > 0 and length + MAX_GAP > self.reach

    def before(self, start: int) -> tuple[int, tuple[Word, ...]]:
        """The context of a segment that begins at `start`: its first sample, and its words.

        It is whole segments; or, if the newest one is too long and its words have times, its last words
        within half of the reach.
        """
        begin, words = start, ()
        for first, last, earlier in reversed(self._segments):
            if begin - last >= MAX_GAP:
                break
            if start - first > self.reach:
                return (begin, words) if words else self._end_of(first, earlier, start)
            begin, words = first, earlier + words
        return begin, words

    def _end_of(self, first: int, words: Words, start: int) -> tuple[int, tuple[Word, ...]]:
        """The end of a segment whose first sample is `first`, within half of `reach` before `start`."""
        for place, word in enumerate(words):
            if word.start is None:
                continue
            begin = first + round(word.start * SAMPLE_RATE)
            if start - begin <= self.reach // 2:
                return begin, words[place:]
        return start, ()

    def ends_before(self, start: int, longest: int) -> bool:
        """Whether the newest segment ends at most `longest` samples before `start`."""
        return bool(self._segments) and start - self._segments[-1][1] <= longest

    def dump(self) -> list[dict[str, Any]]:
        """The state, JSON-able."""
        return [
            {"start": start, "end": end, "words": dump_words(words)} for start, end, words in self._segments
        ]
