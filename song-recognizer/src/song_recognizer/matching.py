"""Which song an excerpt is from: the song with the most landmarks at one and the same offset. Pure.

Sustained tones have the same landmarks in every frame, so they agree at any offset: what counts are the
landmarks at an offset beyond those at the offsets around it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from parlando.store.song_index import RECORD_BYTES
from song_recognizer.landmarks import DEFAULT, Landmarks, Parameters

ALIGNMENTS: Final = 60
"""Best pairs of song and offset that are compared."""
AROUND: Final = 64
"""Frames on both sides of an offset, 1.5 s, whose landmarks are its background."""
NEAR: Final = 2
"""Frames on both sides that belong to the offset itself."""
WIDTH: Final = 3
"""Neighbouring offsets that are added: the frames of an excerpt don't begin with those of its song."""
COMPARED: Final = (250_000, 4_000_000)
"""Records that are compared: first those of the rarest hashes, which say most; more if that isn't clear."""
CLEAR: Final = (20, 3.0)
"""Least matches and ratio of a clear result."""
BLOCK: Final = 8
"""Frames of the excerpt, 0.2 s, of which …"""
PER_BLOCK: Final = 1
"""… so many landmarks count at most: one note has many, and other songs have the same note."""
_BITS: Final = 18
_BLOCK_BITS: Final = 10
_LEAST: Final = 1 << 16  # added to offsets, so that none is negative

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Match:
    """The best song for an excerpt.

    `offset_s`: where the excerpt begins in the song, in seconds. `matches`: landmarks in common at this
    offset, beyond those around it. `ratio`: `matches` divided by those of the second-best song, at least 1.
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
    sizes = np.array(
        [len(found.get(value, b"")) // RECORD_BYTES for value in query.hashes.tolist()], np.int64
    )
    rarest = np.argsort(sizes, kind="stable")
    totals = np.cumsum(sizes[rarest])
    match = None
    for limit in COMPARED:
        chosen = rarest[: np.searchsorted(totals, limit, side="right")]
        match = _best_of(query.hashes[chosen], query.frames[chosen], found, parameters.frame_s)
        if len(chosen) == len(rarest) or (match and match.matches >= CLEAR[0] and match.ratio >= CLEAR[1]):
            break
    return match


def _best_of(hashes: _Ints, starts: _Ints, found: Mapping[int, bytes], frame_s: float) -> Match | None:
    """The song that fits these landmarks of an excerpt best."""
    numbers, offsets, blocks = _aligned(hashes, starts, found)
    if not len(numbers):
        return None
    keys, counts = _counted(numbers, offsets, blocks)
    near = _with_neighbours(keys, counts)
    before = np.r_[0, np.cumsum(counts)]
    best: dict[int, tuple[float, int]] = {}  # song → landmarks, offset
    for place in np.argpartition(near, -min(ALIGNMENTS, len(near)))[-ALIGNMENTS:].tolist():
        key, song = int(keys[place]), int(keys[place]) >> _BITS
        excess = near[place] - _background(keys, before, key)
        best[song] = max(best.get(song, (0.0, 0)), (float(excess), (key & ((1 << _BITS) - 1)) - _LEAST))
    ranked = sorted(((excess, song, offset) for song, (excess, offset) in best.items()), reverse=True)
    excess, song, offset = ranked[0]
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    return Match(song, offset * frame_s, round(excess), excess / max(1.0, second))


def _aligned(hashes: _Ints, starts: _Ints, found: Mapping[int, bytes]) -> tuple[_Ints, _Ints, _Ints]:
    """For every record of a landmark: the song, the excerpt's offset in it, the landmark's block."""
    blobs = [found.get(value, b"") for value in hashes.tolist()]
    sizes = np.array([len(blob) // RECORD_BYTES for blob in blobs], np.int64)
    parts = np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, RECORD_BYTES).astype(np.int64)
    numbers = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
    frames = parts[:, 3] | parts[:, 4] << 8
    begin = np.repeat(starts, sizes)
    return numbers, frames - begin, begin // BLOCK


def _counted(numbers: _Ints, offsets: _Ints, blocks: _Ints) -> tuple[_Ints, _Ints]:
    """The alignments, as numbers of song and offset, in their order; and their landmarks."""
    keys = np.sort((numbers << _BITS | (offsets + _LEAST)) << _BLOCK_BITS | blocks)
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    counts = np.minimum(np.diff(np.r_[starts, len(keys)]), PER_BLOCK)
    keys = keys[starts] >> _BLOCK_BITS
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[starts], np.add.reduceat(counts, starts)


def _with_neighbours(keys: _Ints, counts: _Ints) -> _Ints:
    """The counts of each alignment and of those one frame earlier and later."""
    near = counts.copy()
    adjacent = keys[1:] - keys[:-1] == 1
    near[1:][adjacent] += counts[:-1][adjacent]
    near[:-1][adjacent] += counts[1:][adjacent]
    return near


def _background(keys: _Ints, before: _Ints, key: int) -> float:
    """The landmarks that `WIDTH` offsets around an alignment have on average."""
    first, last = key - AROUND, key + AROUND
    edges = np.searchsorted(keys, [first, key - NEAR, key + NEAR + 1, last + 1])
    low, inner, outer, high = before[edges]
    return float((inner - low) + (high - outer)) * WIDTH / (2 * (AROUND - NEAR))
