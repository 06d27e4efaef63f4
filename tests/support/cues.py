"""A checker of subtitles, after the published timing guidelines of Netflix and the BBC."""

from collections.abc import Sequence
from itertools import pairwise

from parlando.domain.cues import Cue, width

LINE = 42
LINES = 2
LONGEST_S = 7.0
SHORTEST_S = 1.0
SPEED = 20.0  # characters a second
ROUNDING = 0.002


def violations(cues: Sequence[Cue]) -> list[str]:
    """What is wrong with cues, one sentence for each violation."""
    found = []
    for number, cue in enumerate(cues, start=1):
        length = cue.end - cue.start
        said = f"cue {number} ({' / '.join(cue.texts)})"
        if len(cue.lines) > LINES:
            found.append(f"{said} has {len(cue.lines)} lines")
        if (longest := max(map(width, cue.texts))) > LINE:
            found.append(f"{said} has a line of {longest} characters")
        if length > LONGEST_S + ROUNDING:
            found.append(f"{said} is shown for {length:.2f} s")
        if length < SHORTEST_S - ROUNDING:
            found.append(f"{said} is shown for {length:.2f} s")
        if cue.width / length > SPEED * (1 + ROUNDING):
            found.append(f"{said} has {cue.width / length:.1f} characters a second")
    for before, after in pairwise(cues):
        if before.end > after.start:
            found.append(f"the cues at {before.start:.2f} and {after.start:.2f} s overlap")
    return found
