"""Which speaker says which word. Pure."""

from collections.abc import Sequence
from typing import Final

from parlando.domain.transcript import TimedWord

SENTENCE_END_S: Final = 0.4
"""By how much further a place may be if a sentence ends there …"""
CLAUSE_END_S: Final = 0.1  # … or a clause
_SENTENCE_ENDS: Final = (".", "?", "!", "…", "。", "？", "！")
_CLAUSE_ENDS: Final = (",", ";", ":", "、", "，")


def attribute(words: Sequence[TimedWord], speakers: Sequence[int], changes: Sequence[float]) -> list[int]:
    """The speaker of each word.

    `speakers`: those of successive windows, at least one. `changes`: when the speaker of a window gives way
    to the next one's, in seconds. A change moves to a boundary of words, preferably to a sentence's end.
    """
    found = [speakers[0]] * len(words)
    cut = 0
    for one, other, change in zip(speakers, speakers[1:], changes, strict=False):
        if one != other:
            cut = min(range(cut, len(words) + 1), key=lambda place: _distance(words, place, change))
            found[cut:] = [other] * (len(words) - cut)
    return found


def _distance(words: Sequence[TimedWord], place: int, change: float) -> float:
    """How little the boundary before word number `place` fits a change, in seconds."""
    if not words:
        return 0.0
    if place == 0:
        return abs(words[0].start - change)
    before = words[place - 1]
    start = words[place].start if place < len(words) else before.end
    outside = max(before.end - change, change - start, 0.0)  # anywhere between two words is as good
    bonus = 0.0
    if before.word.endswith(_SENTENCE_ENDS):
        bonus = SENTENCE_END_S
    elif before.word.endswith(_CLAUSE_ENDS):
        bonus = CLAUSE_END_S
    return outside - bonus
