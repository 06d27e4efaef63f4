"""Conversion from the stream time of a session to wall-clock time. No I/O.

HTTP audio has gaps: during silence nothing is sent, and stream time does not advance. The arrival time of
each burst of bodies is known; its audio was recorded before that.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Burst:
    """HTTP bodies that arrived in quick succession.

    `start_ms`: stream time at which the first body begins. `came_ms`: arrival of the last, unix milliseconds.
    """

    start_ms: int
    came_ms: int


class WallClock:
    """Maps stream time to unix time.

    `end_ms`: length of the stream. `opened_ms`: unix time of the stream's beginning, used before the first
    burst.
    """

    def __init__(self, bursts: Sequence[Burst], *, end_ms: int, opened_ms: int) -> None:
        ends = [burst.start_ms for burst in bursts[1:]] + [end_ms] * bool(bursts)
        self._starts = [burst.start_ms for burst in bursts]
        # A burst's audio ends when its last body arrived; bursts don't overlap.
        self._walls: list[int] = []
        before = 0
        for burst, end in zip(bursts, ends, strict=True):
            wall = max(burst.came_ms - (end - burst.start_ms), before)
            self._walls.append(wall)
            before = wall + end - burst.start_ms
        self._opened_ms = opened_ms

    def at(self, stream_s: float) -> int:
        """The unix time in milliseconds of stream time `stream_s`."""
        ms = round(stream_s * 1000)
        index = bisect_right(self._starts, ms) - 1
        if index < 0:
            return self._opened_ms + ms
        return self._walls[index] + ms - self._starts[index]
