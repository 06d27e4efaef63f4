"""Landmarks: pairs of spectral peaks, as hashes that survive noise, codecs and changes of level.

The method is that of A. Wang, "An industrial-strength audio search algorithm" (ISMIR 2003), with parameters
like those of D. Ellis's audfprint (2014). A peak is a local maximum of the level in frequency that exceeds a
threshold; the threshold is raised around each peak and decays, forwards and then backwards in time. Each peak
is paired with up to `fan_out` later peaks; a pair's hash has 20 bits: bin of the first peak, halved, 8;
difference of the bins 6 (two's complement); difference of the frames 6.

Two parameters differ from audfprint's, so that excerpts under speech are recognised: spectra of 93 ms instead
of 46 ms, and levels more than 40 dB below the greatest one nearby don't count (there 120 dB).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter, resample_poly

from parlando.domain.audio import SAMPLE_RATE

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

HASHES: Final = 1 << 20
"""Number of different hashes."""
_FRAME_BITS: Final = 6
_BIN_BITS: Final = 6
_TOGETHER: Final = 64  # second peaks that are compared with a first one at a time
_FLOOR: Final = 1e-9  # level of digital silence, so that its logarithm exists


@dataclass(frozen=True)
class Parameters:
    """Parameters of the index. Songs and excerpts need the same; `per_frame` and `fan_out` may differ.

    `rate`: sampling rate in Hz. `window`, `hop`: samples per spectrum and between two. `pole`: of the
    high-pass over time in each bin. `least`: levels below this share of the greatest one within `around_s`
    seconds are raised to it. `spread`: standard deviation of the threshold around a peak, in bins.
    `per_frame`: maximum peaks per frame. `fan_out`: maximum pairs per peak. `frames`: least and greatest
    difference of a pair in frames; `bins`: greatest difference in bins.
    """

    rate: int = 11_025
    window: int = 1024
    hop: int = 256
    pole: float = 0.98
    least: float = 0.01
    around_s: float = 5.0
    spread: float = 30.0
    per_frame: int = 5
    fan_out: int = 3
    frames: tuple[int, int] = (2, 63)
    bins: int = 31
    version: int = 1

    @property
    def frame_s(self) -> float:
        """Seconds between two frames."""
        return self.hop / self.rate

    @cached_property
    def _hann(self) -> Floats:
        return np.hanning(self.window + 2)[1:-1].astype(np.float32)

    @cached_property
    def _shapes(self) -> Floats:
        """Row b: the threshold around a peak of level 1 in bin b."""
        bins = np.arange(self.window // 2)
        return np.exp(-0.5 * ((bins[:, None] - bins) / self.spread) ** 2).astype(np.float32)


DEFAULT: Final = Parameters()
DENSITY: Final = 40.0
"""Density of peaks at which a song has some 27 hashes per second."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Landmarks of audio, ordered by time: `hashes[i]` begins in frame `frames[i]`."""

    hashes: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    frames: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.hashes)

    def by_hash(self) -> dict[int, list[int]]:
        """Hash → its frames."""
        frames: dict[int, list[int]] = {}
        for value, frame in zip(self.hashes.tolist(), self.frames.tolist(), strict=True):
            frames.setdefault(value, []).append(frame)
        return frames


def landmarks(pcm: NDArray[Any], *, density: float = DENSITY, parameters: Parameters = DEFAULT) -> Landmarks:
    """The landmarks of 16 kHz mono PCM, as float or 16-bit samples; the level doesn't matter.

    `density`: the higher, the faster the threshold decays, and the more peaks there are.
    """
    return landmarks_in([*levels(pcm, parameters=parameters)], density=density, parameters=parameters)


def levels(pcm: NDArray[Any], *, shifts: int = 1, parameters: Parameters = DEFAULT) -> Iterator[Floats]:
    """`shifts` analyses of 16 kHz mono PCM, each of shape (frames, bins): logarithmic spectra, high-passed
    over time. Their frames begin at different fractions of a hop; an excerpt's frames are not aligned with
    those of its song. Each is computed when it is asked for.
    """
    audio = resample_poly(np.asarray(pcm, np.float32), *_ratio(parameters.rate)).astype(np.float32)
    for shift in range(shifts):
        yield _levels(audio[shift * parameters.hop // shifts :], parameters)


def landmarks_in(
    analyses: Sequence[Floats],
    *,
    density: float = DENSITY,
    most: int | None = None,
    parameters: Parameters = DEFAULT,
) -> Landmarks:
    """The landmarks of all analyses of the same audio.

    `most`: maximum number of landmarks; of each peak, the pairs with the furthest peaks are left out first.
    """
    found = [_pairs(*_peaks(each, density, parameters), parameters) for each in analyses]
    hashes, frames, ranks = (np.concatenate(each) for each in zip(*found, strict=True))
    if most is not None and len(hashes) > most:
        nearest = np.argsort(ranks, kind="stable")[:most]
        hashes, frames = hashes[nearest], frames[nearest]
    both = np.sort((frames << 20) | hashes)
    both = both[np.diff(both, prepend=-1) > 0]
    return Landmarks(both & (HASHES - 1), both >> 20)


def _ratio(rate: int) -> tuple[int, int]:
    shared = int(np.gcd(rate, SAMPLE_RATE))
    return rate // shared, SAMPLE_RATE // shared


def _levels(audio: Floats, parameters: Parameters) -> Floats:
    if len(audio) < parameters.window:
        return np.empty((0, parameters.window // 2), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, parameters.window)[:: parameters.hop]
    spectra = np.abs(rfft(frames * parameters._hann, axis=1)[:, :-1])
    nearby = 2 * round(parameters.around_s / parameters.frame_s) + 1
    greatest = maximum_filter1d(spectra.max(axis=1, keepdims=True), nearby, axis=0)
    levels = np.log(np.maximum(spectra, np.maximum(greatest * parameters.least, _FLOOR)))
    levels -= levels.mean()
    return np.asarray(lfilter([1, -1], [1, -parameters.pole], levels, axis=0), np.float32)


def _peaks(levels: Floats, density: float, parameters: Parameters) -> tuple[Ints, Ints]:
    """Frames and bins of the peaks, ordered by frame and bin."""
    count = len(levels)
    if not count:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    decay = _decay(density, parameters)
    above = np.full((count, 1), -np.inf, np.float32)
    left = np.hstack([above, levels[:, :-1]])
    right = np.hstack([levels[:, 1:], above])
    maxima = (levels > left) & (levels >= right) & (levels > 0)
    shapes = parameters._shapes
    kept: list[tuple[int, NDArray[np.intp]]] = []
    threshold = _raised(levels[: min(10, count)].max(axis=0), shapes)
    for frame in range(count):
        level = levels[frame]
        found = np.flatnonzero(maxima[frame] & (level > threshold))
        if len(found):
            strongest = found[np.argsort(level[found])[::-1][: parameters.per_frame]]
            chosen = [b for b in strongest if level[b] > threshold[b]]
            for b in chosen:
                np.maximum(threshold, level[b] * shapes[b], out=threshold)
            kept.append((frame, np.array(chosen, np.intp)))
        threshold *= decay
    threshold = _raised(levels[-1], shapes)
    peaks: list[tuple[int, int]] = []
    last = count - 1
    for frame, found in reversed(kept):
        threshold *= decay ** (last - frame)
        last = frame
        level = levels[frame]
        for b in found:
            if level[b] >= threshold[b]:
                peaks.append((frame, int(b)))
                np.maximum(threshold, level[b] * shapes[b], out=threshold)
    peaks.sort()
    both = np.array(peaks, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _decay(density: float, parameters: Parameters) -> float:
    """The factor of the threshold from one frame to the next."""
    return float(1 - 0.01 * density * np.sqrt(parameters.frame_s / 0.032) / 35)


def _raised(levels: Floats, shapes: Floats) -> Floats:
    """The threshold that the maxima of a spectrum raise."""
    inner = (levels[1:-1] > levels[:-2]) & (levels[1:-1] >= levels[2:])
    at = np.flatnonzero(inner) + 1
    if not len(at):
        return np.zeros_like(levels)
    raised: Floats = np.maximum((levels[at, None] * shapes[at]).max(axis=0), 0).astype(np.float32)
    return raised


def _pairs(frames: Ints, bins: Ints, parameters: Parameters) -> tuple[Ints, Ints, Ints]:
    """Hashes of the pairs of peaks, the frames of their first peaks, and each pair's rank among those of its
    first peak, from 0.
    """
    nearest, furthest = parameters.frames
    later = np.searchsorted(frames, frames + nearest)
    stop = np.searchsorted(frames, frames + furthest, side="right")
    first = np.flatnonzero(later < stop)
    taken = np.zeros(len(frames), np.int64)
    found: list[tuple[Ints, Ints, Ints]] = [(np.empty(0, np.int64),) * 3]
    while len(first):
        second = later[first, None] + np.arange(_TOGETHER)
        inside = second < stop[first, None]
        second = np.minimum(second, len(frames) - 1)
        difference = bins[second] - bins[first, None]
        inside &= np.abs(difference) < parameters.bins
        ranks = taken[first, None] + np.cumsum(inside, axis=1) - 1
        row, column = np.nonzero(inside & (ranks < parameters.fan_out))
        one = first[row]
        hashes = (
            (bins[one] >> 1 << (_BIN_BITS + _FRAME_BITS))
            | ((difference[row, column] & ((1 << _BIN_BITS) - 1)) << _FRAME_BITS)
            | (frames[second[row, column]] - frames[one])
        )
        found.append((hashes, frames[one], ranks[row, column]))
        taken[first] = ranks[:, -1] + 1
        later[first] += _TOGETHER
        first = first[(later[first] < stop[first]) & (taken[first] < parameters.fan_out)]
    hashes, starts, ranks = (np.concatenate(each) for each in zip(*found, strict=True))
    return hashes, starts, ranks
