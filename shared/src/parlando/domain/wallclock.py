"""When a moment of a session's audio was on the wall clock. Pure.

Audio that comes in bodies has gaps that nobody sends: stream time stands still in silence. What is known is
when each burst of bodies had come, and that its audio was spoken before.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Burst:
    """Bodies that came together: the first begins at `start_ms` of the stream, the last came at `came_ms`."""

    start_ms: int
    came_ms: int


class WallClock:
    """Maps stream time to unix time. `end_ms`: length of the stream; `opened_ms`: used where nothing came."""

    def __init__(self, bursts: Sequence[Burst], *, end_ms: int, opened_ms: int) -> None:
        ends = [burst.start_ms for burst in bursts[1:]] + [end_ms] * bool(bursts)
        self._starts = [burst.start_ms for burst in bursts]
        # A burst's audio ends when its last body came; bursts don't overlap.
        self._walls: list[int] = []
        before = 0
        for burst, end in zip(bursts, ends, strict=True):
            wall = max(burst.came_ms - (end - burst.start_ms), before)
            self._walls.append(wall)
            before = wall + end - burst.start_ms
        self._opened_ms = opened_ms

    def at(self, stream_s: float) -> int:
        """Unix time in milliseconds of a moment of the stream in seconds."""
        ms = round(stream_s * 1000)
        index = bisect_right(self._starts, ms) - 1
        if index < 0:
            return self._opened_ms + ms
        return self._walls[index] + ms - self._starts[index]
