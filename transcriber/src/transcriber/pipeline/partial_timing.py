"""When a segment's next partial is due. Pure. All places and lengths in samples."""

from typing import Final

from parlando.domain.audio import samples

FIRST_PARTIAL: Final = samples(300)
"""Speech before a segment's first partial …"""
EARLY_PARTIAL: Final = samples(256)
"""… if there is time to decode it again soon."""
RETRY_PARTIAL: Final = samples(128)
"""New audio after which a segment without words is decoded again …"""
EARLY_RETRY: Final = samples(96)
"""… if there is time."""
MAX_SILENCE: Final = samples(100)
"""No partial is decoded after more silence than this."""


def partial_due(
    onset: int, decoded: int, resumed: int | None, *, interval: int, words: bool, hurried: bool
) -> tuple[int, bool]:
    """The place at which the next partial is due, and whether it is urgent.

    `onset`: where the segment's speech begins. `decoded`: where its last partial ended; 0 before the first.
    `resumed`: where speech went on after a pause that no partial has followed yet. `interval`: the longest
    time between two partials. `words`: whether the segment has any. `hurried`: see `Cadence`.

    The interval grows with the segment: its first words are often wrong, and a short window costs little.
    """
    due = onset + (FIRST_PARTIAL if hurried else EARLY_PARTIAL)
    if decoded and not words:
        due = max(due, decoded + (RETRY_PARTIAL if hurried else EARLY_RETRY))
    elif decoded:
        due = max(due, decoded + min(interval, max(FIRST_PARTIAL, decoded - onset)))
    if words and resumed is not None:
        return min(due, resumed + FIRST_PARTIAL), True
    return due, not words
