"""Which song an excerpt is from: the song with the most landmarks at one and the same offset. Pure.

Sustained tones have the same landmarks in every frame, so they agree at any offset: what counts are the
landmarks at an offset beyond those at the offsets around it.

Most records of an excerpt's hashes are of other songs. They are counted in cells of a song and 1.5 s of its
offsets first; only the songs that have the best alignments in the fullest cells are compared exactly.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from parlando.store.song_index import NUMBER_BYTES, RECORD_BYTES
from song_recognizer.landmarks import DEFAULT, Landmarks, Parameters

ALIGNMENTS: Final = 60
"""Best pairs of song and offset that are compared."""
AROUND: Final = 64
"""Frames on both sides of an offset, 1.5 s, whose landmarks are its background."""
NEAR: Final = 2
"""Frames on both sides that belong to the offset itself."""
WIDTH: Final = 3
"""Neighbouring offsets that are added: the frames of an excerpt don't begin with those of its song."""
COMPARED: Final = (400_000, 2_500_000)
"""Records that are compared: first those of the rarest hashes, which say most; more if that isn't clear."""
CLEAR: Final = (12, 1.6)
"""Least matches and ratio of a clear result."""
BLOCK: Final = 8
"""Frames of the excerpt, 0.2 s, of which …"""
PER_BLOCK: Final = 1
"""… so many landmarks count at most: one note has many, and other songs have the same note."""
FEW: Final = 100_000
"""Records that are compared exactly, without cells."""
KEPT: Final = 80_000
"""Records in the fullest cells, of which the best alignments are compared."""
_CELLS: Final = 20  # bits of a cell's number; cells of different songs may share one, which only adds noise
_CELL: Final = 6  # bits of the offsets in a cell
_SPREAD: Final = 2_654_435_761  # odd, near 2^32 divided by the golden ratio: songs' cells lie far apart
_BITS: Final = 18
_BLOCK_BITS: Final = 10
_LEAST: Final = 1 << 16  # added to offsets, so that none is negative

_Ints = NDArray[np.int64]
_Small = NDArray[np.uint32]


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


@dataclass(frozen=True, slots=True)
class _Records:
    """Records of the excerpt's landmarks: the song; the excerpt's offset in it plus `_LEAST`; the
    landmark's frame in the excerpt.
    """

    numbers: _Small
    offsets: _Small
    frames: _Small

    def __len__(self) -> int:
        return len(self.numbers)

    def only(self, chosen: NDArray[np.bool_]) -> "_Records":
        at = np.flatnonzero(chosen)
        return _Records(self.numbers[at], self.offsets[at], self.frames[at])


def best_match(
    query: Landmarks,
    found: Mapping[int, bytes],
    *,
    excluded: Collection[int] = (),
    parameters: Parameters = DEFAULT,
) -> Match | None:
    """The song that fits best; None if no landmark of the excerpt is in the index.

    `found`: hash → its records in the index; hashes without records may be missing. `excluded`: songs
    that don't count, such as removed ones.
    """
    records = [found.get(value, b"") for value in query.hashes.tolist()]
    sizes = np.fromiter(map(len, records), np.int64, len(records)) // RECORD_BYTES
    rarest = np.argsort(sizes, kind="stable")
    totals = np.cumsum(sizes[rarest])
    match = None
    for limit in COMPARED:
        chosen = rarest[: np.searchsorted(totals, limit, side="right")]
        aligned = _aligned([records[each] for each in chosen.tolist()], query.frames[chosen], sizes[chosen])
        if excluded:
            aligned = aligned.only(~np.isin(aligned.numbers, list(excluded)))
        match = _best_of(aligned, parameters.frame_s)
        if len(chosen) == len(rarest) or (match and match.matches >= CLEAR[0] and match.ratio >= CLEAR[1]):
            break
    return match


def _aligned(records: Sequence[bytes], starts: _Ints, sizes: _Ints) -> _Records:
    """Every record of the landmarks that begin in the frames `starts`."""
    data = b"".join(records)
    count = len(data) // RECORD_BYTES
    if not count:
        return _Records(*(np.empty(0, np.uint32) for _ in range(3)))
    low = np.ndarray(count, "<u4", data, 0, (RECORD_BYTES,)).copy()
    high = np.ndarray(count, np.uint8, data, RECORD_BYTES - 1, (RECORD_BYTES,))
    offsets = high.astype(np.uint32) << np.uint32(8)
    offsets |= low >> np.uint32(8 * NUMBER_BYTES)
    frames = np.repeat(starts.astype(np.uint32), sizes)
    offsets += np.uint32(_LEAST)
    offsets -= frames
    low &= np.uint32((1 << 8 * NUMBER_BYTES) - 1)
    return _Records(low, offsets, frames)


def _best_of(records: _Records, frame_s: float) -> Match | None:
    """The song that fits these landmarks of an excerpt best."""
    if not len(records):
        return None
    if len(records) > FEW:
        keys, near, _ = _alignments(records.only(_in_full_cells(records)))
        promising = np.zeros(int(records.numbers.max()) + 1, np.bool_)
        promising[keys[_greatest(near)] >> _BITS] = True
        records = records.only(promising[records.numbers])
    keys, near, before = _alignments(records)
    best: dict[int, tuple[float, int]] = {}  # song → landmarks, offset
    for place in _greatest(near).tolist():
        key, song = int(keys[place]), int(keys[place]) >> _BITS
        excess = near[place] - _background(keys, before, key)
        best[song] = max(best.get(song, (0.0, 0)), (float(excess), (key & ((1 << _BITS) - 1)) - _LEAST))
    ranked = sorted(((excess, song, offset) for song, (excess, offset) in best.items()), reverse=True)
    excess, song, offset = ranked[0]
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    return Match(song, offset * frame_s, round(excess), excess / max(1.0, second))


def _in_full_cells(records: _Records) -> NDArray[np.bool_]:
    """Which records are in the fullest cells, which have `KEPT` together."""
    cells = records.numbers * np.uint32(_SPREAD)
    cells >>= np.uint32(32 - _CELLS)
    cells += records.offsets >> np.uint32(_CELL)
    cells &= np.uint32((1 << _CELLS) - 1)
    sizes = np.bincount(cells, minlength=1 << _CELLS)
    having = np.bincount(sizes)
    at_least = np.cumsum((having * np.arange(len(having)))[::-1])[::-1]
    least = min(int(np.count_nonzero(at_least > KEPT)), len(having) - 1)
    chosen: NDArray[np.bool_] = (sizes >= least)[cells]
    return chosen


def _alignments(records: _Records) -> tuple[_Ints, _Ints, _Ints]:
    """The alignments, as numbers of song and offset, in their order; their landmarks with those of one frame
    earlier and later; and the landmarks of all alignments before each one.
    """
    keys, counts = _counted(
        records.numbers.astype(np.int64), records.offsets.astype(np.int64), records.frames // BLOCK
    )
    return keys, _with_neighbours(keys, counts), np.r_[0, np.cumsum(counts)]


def _greatest(near: _Ints) -> NDArray[np.intp]:
    """The places of the `ALIGNMENTS` greatest numbers."""
    least = _least_of(near, ALIGNMENTS)
    places = np.concatenate([np.flatnonzero(near > least), np.flatnonzero(near == least)])
    return places[:ALIGNMENTS]


def _least_of(values: _Ints, count: int) -> int:
    """The value that the `count` greatest of small values exceed or equal."""
    having = np.cumsum(np.bincount(values)[::-1])[::-1]
    return max(0, int(np.count_nonzero(having >= count)) - 1)


def _counted(numbers: _Ints, offsets: _Ints, blocks: _Small) -> tuple[_Ints, _Ints]:
    """The alignments, as numbers of song and offset, in their order; and their landmarks."""
    keys = np.sort((numbers << _BITS | offsets) << _BLOCK_BITS | blocks)
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
