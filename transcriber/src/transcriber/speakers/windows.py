"""Windows of speech whose voices are embedded, and where speakers may change between them. Pure."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Float32

LENGTH_S: Final = 1.5
HOP_S: Final = 0.75
LONGEST_S: Final = 1.8
"""Speech up to this length is one window."""
SHORTEST_REST_S: Final = 0.3
"""Length of speech behind the last window from which on it gets a window of its own."""
_REACH_S: Final = 0.6  # largest distance of a dip from the middle between two windows
_BLOCK: Final = SAMPLE_RATE // 50  # samples of which the energy is measured
_SMOOTH: Final = 5  # blocks
_NEARER_DB: Final = 6.0  # by how much a dip must be deeper for each second that it is further away


@dataclass(frozen=True, slots=True)
class Span:
    """A window, in seconds of the session or file. `seconds`: how much speech it stands for."""

    start: float
    end: float
    seconds: float

    @property
    def centre(self) -> float:
        """Its middle."""
        return (self.start + self.end) / 2


def spans(start: float, end: float, *, hop: float = HOP_S, complete: bool = True) -> list[Span]:
    """The windows of speech from `start` to `end`. Later speech adds windows and changes only the last one.

    `complete`: False while speech goes on; then only the windows that won't change any more.
    """
    if end - start <= LONGEST_S:
        return [Span(start, end, end - start)] if complete else []
    count = int((end - start - LENGTH_S) / hop + 1e-6) + 1
    found = [Span(start + n * hop, start + n * hop + LENGTH_S, hop) for n in range(count)]
    if not complete:
        return found
    rest = end - found[-1].end
    if rest >= SHORTEST_REST_S:
        found.append(Span(end - LENGTH_S, end, rest))
    return found


def changes(pcm: Float32, origin: float, windows: list[Span]) -> list[float]:
    """For each window, where a change to the next window's speaker would be: the deepest dip near the middle.

    `pcm`: float32 samples at 16 kHz, from second `origin` on. The last window's is its end.
    """
    blocks = len(pcm) // _BLOCK
    energies = (pcm[: blocks * _BLOCK].reshape(blocks, _BLOCK) ** 2).mean(axis=1)
    smooth = np.convolve(energies, np.ones(_SMOOTH) / _SMOOTH, "same") if blocks >= _SMOOTH else energies
    decibels = 10 * np.log10(smooth + 1e-10)
    places = origin + (np.arange(blocks) + 0.5) * _BLOCK / SAMPLE_RATE
    found = []
    for window, following in pairwise(windows):
        middle = (window.end + following.start) / 2
        near = np.abs(places - middle) <= _REACH_S
        cost = decibels[near] + _NEARER_DB * np.abs(places[near] - middle)
        found.append(float(places[near][np.argmin(cost)]) if near.any() else middle)
    return [*found, windows[-1].end] if windows else []
