"""Which song an excerpt is from: the song with the most landmarks at one and the same offset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from parlando.store.song_index import RECORD_BYTES
from song_recognizer.landmarks import DEFAULT, Landmarks, Parameters

CANDIDATES: Final = 40
"""Songs with the most common landmarks whose offsets are examined."""
TOLERANCE: Final = 1
"""Frames by which offsets of the same alignment may differ."""


@dataclass(frozen=True, slots=True)
class Match:
    """The best song for an excerpt.

    `offset_s`: where the excerpt begins in the song, in seconds. `matches`: landmarks in common at this
    offset. `ratio`: `matches` divided by those of the second-best song, which count as 1 if there is none.
    """

    number: int
    offset_s: float
    matches: int
    ratio: float


def best_match(
    query: Landmarks, found: Mapping[int, bytes], *, parameters: Parameters = DEFAULT
) -> Match | None:
    """The song that fits best; None if no landmark of the excerpt is in the index.

    `found`: hash → its records in the index; hashes without records may be missing.
    """
    numbers, deltas = _aligned(query, found)
    if not len(numbers):
        return None
    songs, counts = np.unique(numbers, return_counts=True)
    candidates = songs[np.argsort(counts, kind="stable")[::-1][:CANDIDATES]]
    best, second = Match(0, 0.0, 0, 0.0), 0
    for song in candidates:
        offset, matches = _peak(deltas[numbers == song])
        if matches > best.matches:
            second = best.matches
            best = Match(int(song), offset * parameters.frame_s, matches, 0.0)
        elif matches > second:
            second = matches
    return Match(best.number, best.offset_s, best.matches, best.matches / max(1, second))


def _aligned(query: Landmarks, found: Mapping[int, bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every record of a landmark in the excerpt: the song, and the offset of the excerpt in it."""
    blobs, repeats, starts = [], [], []
    for value, frame in zip(query.hashes.tolist(), query.frames.tolist(), strict=True):
        if blob := found.get(value):
            blobs.append(blob)
            repeats.append(len(blob) // RECORD_BYTES)
            starts.append(frame)
    if not blobs:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    parts = np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, RECORD_BYTES).astype(np.int64)
    numbers = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
    frames = parts[:, 3] | parts[:, 4] << 8
    return numbers, frames - np.repeat(np.array(starts, np.int64), repeats)


def _peak(deltas: NDArray[np.int64]) -> tuple[int, int]:
    """The offset that most landmarks share within `TOLERANCE`, and their number."""
    least = int(deltas.min())
    counts = np.bincount(deltas - least, minlength=1)
    near = np.convolve(counts, np.ones(2 * TOLERANCE + 1, np.int64), mode="same")
    at = int(near.argmax())
    return at + least, int(near[at])
