"""The lengths of words: a word lasts at least some milliseconds. Pure.

Alignment gives no length to a word whose tokens share a frame with the next word's, and clamping the times of
words to those of a segment removes the length of those outside it.
"""

from collections.abc import Sequence
from typing import Final

MIN_WORD_S: Final = 0.02

Span = tuple[float, float]
"""Start and end in seconds."""


def with_lengths(spans: Sequence[Span], first: float, last: float) -> list[Span]:
    """`spans` in increasing order between `first` and `last`, each at least `MIN_WORD_S` long.

    Spans that are long enough and in order are kept. If there are more words than fit in `first` to `last`,
    they share that time equally.
    """
    if not spans:
        return []
    least = min(MIN_WORD_S, max(0.0, last - first) / len(spans))
    found: list[Span] = []
    at = first
    for start, end in spans:
        start = max(start, at)
        at = max(end, start + least)
        found.append((start, at))
    limit = last
    for number in range(len(found) - 1, -1, -1):
        start, end = found[number]
        end = min(end, limit)
        start = min(start, end - least)
        found[number] = start, end
        limit = start
    return [(round(start, 3), round(end, 3)) for start, end in found]
