"""Keeps the decoded audio at the times of a container's timestamps. Pure.

FFmpeg evaluates `expression` for each decoded frame (filter `asetpts`); its filter `aresample` then writes
silence wherever the timestamps say that time has passed. The expression prints what it found, and `Jumps`
reads that.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from parlando.domain.audio import SAMPLE_RATE

LEAST_JUMP_S: Final = 0.1
"""Shorter jumps, in seconds, are inaccuracies of the timestamps."""
RESAMPLER: Final = {
    "async": 1,
    "min_comp": 0.03,
    "min_hard_comp": LEAST_JUMP_S,
    "max_soft_comp": 0.1,
    "comp_duration": 1,
}
"""Options of `aresample`: it fills jumps with silence, and stretches audio that drifts from its timestamps by
more than 30 ms, by up to 10 %."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The silence that timestamps may cause, in seconds: in one jump; in all, besides as much as audio."""

    jump_s: int
    total_s: int


FILE: Final = Limits(jump_s=3600, total_s=4 * 3600)
LIVE: Final = Limits(jump_s=300, total_s=1800)


_OVERLAP_S: Final = 0.05  # seconds by which frames may overlap lately …
_LEAK: Final = 0.97  # … and the factor per frame with which that is forgotten


class Kind(IntEnum):
    """What the expression found. `START`: the first time of a decoder; `length` is that time.

    `FILLED`: a jump that silence fills. `IGNORED`: one beyond the limits, which isn't filled. `RESTARTED`:
    the timestamps went back; what follows is placed behind what came before.
    """

    START = 0
    FILLED = 1
    IGNORED = 2
    RESTARTED = 3


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the timestamps at sample `position` of FFmpeg's output. `length`: in seconds."""

    kind: Kind
    position: int
    length: float


def expression(limits: Limits) -> str:
    """The expression for `asetpts`.

    Variables: 0: what is added to timestamps; 1: the time at which the next frame is expected; 2: whether a
    frame has come; 3: this frame's time; 4: how much later it is than expected; 5: silence so far; 6: the
    first time; 7: how much frames have overlapped lately. Overlaps that `aresample` would cut out are undone:
    no sound is dropped.
    """
    allowed = f"lte(ld(4),{limits.jump_s})*lte(2*ld(5)+ld(4),{limits.total_s}+ld(1)-ld(6))"
    close_up = "st(0,ld(0)-ld(4));st(3,ld(1))"
    filled = f"{_printed(Kind.FILLED)};st(5,ld(5)+ld(4))"
    ignored = f"{_printed(Kind.IGNORED)};{close_up}"
    restarted = f"{_printed(Kind.RESTARTED)};{close_up}"
    kept = "st(0,ld(0)-ld(7));st(3,ld(3)-ld(7));st(7,0)"
    squeezed = f"st(7,{_LEAK}*ld(7)+ld(4));if(lt(ld(7),-{_OVERLAP_S}),{kept})"
    later = f"if(gt(ld(4),{LEAST_JUMP_S}),if({allowed},{filled},{ignored}),{squeezed})"
    first = f"st(6,ld(3));st(1,ld(3));st(4,ld(3));{_printed(Kind.START)}"
    return (
        "st(3,if(isnan(PTS),ld(1),PTS*TB+ld(0)));st(4,ld(3)-ld(1));"
        f"if(ld(2),if(lt(ld(4),-{LEAST_JUMP_S}),{restarted},{later}),{first});"
        "st(2,1);st(1,ld(3)+S/SR);floor(ld(3)/TB+0.5)"
    )


_ERROR: Final = 16  # log level at which FFmpeg prints even with `-loglevel error`


def _printed(kind: Kind) -> str:
    return f"print({kind.value},{_ERROR});print(ld(1)-ld(6),{_ERROR});print(ld(4),{_ERROR})"


_NUMBER: Final = re.compile(r"^(?:\[Eval @ \S+\] )?(-?\d+\.\d{6})$")


class Jumps:
    """Reads the lines that the expression printed."""

    def __init__(self) -> None:
        self.first_s: float | None = None
        """The first timestamp in seconds; None before the first frame."""
        self.found: list[Jump] = []
        self._numbers: list[float] = []

    def note(self, line: str) -> bool:
        """Read a line of FFmpeg's log. Returns whether the expression printed it."""
        match = _NUMBER.match(line.strip())
        if match is None:
            return False
        self._numbers.append(float(match[1]))
        if len(self._numbers) == 3:
            code, position, length = self._numbers
            self._numbers = []
            if code != Kind.START:
                self.found.append(Jump(Kind(int(code)), round(position * SAMPLE_RATE), length))
            elif self.first_s is None:  # a later one is of a decoder whose rate or channels have changed
                self.first_s = length
        return True
