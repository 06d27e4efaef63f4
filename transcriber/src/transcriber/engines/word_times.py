"""Word times from cross-attention: dynamic time warping over attention weights. Pure.

The method of openai-whisper's `timing.py` (Giorgino's DTW over normalised, median-filtered
cross-attention), with the frames of any encoder.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from parlando.domain.word_spans import with_lengths

MEDIAN_WIDTH: Final = 7  # frames
_EXCHANGES: Final = (
    *((0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6)),
    *((2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4)),
)
"""A sorting network: after these compare-and-swap steps the median of seven values is the fourth
(Devillard, "Fast median search", 1998)."""

Weights = npt.NDArray[np.floating[Any]]


def align(weights: Weights, lengths: Sequence[int], frame_s: float) -> list[tuple[float, float]]:
    """Start and end in seconds of each word.

    `weights`: attention of shape (layers, heads, tokens, frames). `lengths`: tokens of each word; their sum
    is the number of tokens. `frame_s`: seconds of one frame.
    """
    if not lengths:
        return []
    flat = weights.reshape(-1, *weights.shape[2:])
    spread = flat.std(axis=1, keepdims=True) + 1e-9
    flat = (flat - flat.mean(axis=1, keepdims=True)) / spread
    mean = np.mean([_median_filtered(head) for head in flat], axis=0)
    starts = _first_frames(-mean)
    frames = weights.shape[3]
    edges = [*np.cumsum([0, *lengths])]
    spans = []
    for begin, end in pairwise(edges):
        last = starts[end] if end < len(starts) else frames
        spans.append((float(starts[begin] * frame_s), float(last * frame_s)))
    return with_lengths(spans, 0.0, frames * frame_s)


def _median_filtered(rows: Weights) -> Weights:
    """`rows` of shape (rows, frames), each value the median of 7 frames; mirrored at the edges."""
    edge = MEDIAN_WIDTH // 2
    frames = rows.shape[1]
    if frames <= edge:
        return rows
    padded = np.pad(rows, ((0, 0), (edge, edge)), mode="reflect")
    shifted = [padded[:, at : at + frames] for at in range(MEDIAN_WIDTH)]
    for a, b in _EXCHANGES:
        shifted[a], shifted[b] = np.minimum(shifted[a], shifted[b]), np.maximum(shifted[a], shifted[b])
    return shifted[edge]


def _first_frames(cost: Weights) -> list[int]:
    """The first frame of each row (token) on the cheapest monotonic path. `cost`: shape (rows, frames)."""
    rows, frames = cost.shape
    total = np.full((rows + 1, frames + 1), np.inf)
    total[0, 0] = 0.0
    came = np.zeros((rows + 1, frames + 1), np.int8)
    for below in range(rows):
        previous, current, steps = total[below], total[below + 1], came[below + 1]
        diagonal, up, line = previous[:-1].tolist(), previous[1:].tolist(), cost[below].tolist()
        best = np.inf
        for frame in range(1, frames + 1):
            least, step = diagonal[frame - 1], 0
            if up[frame - 1] < least:
                least, step = up[frame - 1], 1
            if best < least:
                least, step = best, 2
            best = line[frame - 1] + least
            current[frame], steps[frame] = best, step
    starts = [0] * rows
    row, frame = rows, frames
    while row > 0 and frame > 0:
        starts[row - 1] = frame - 1
        move = int(came[row, frame])
        if move != 2:
            row -= 1
        if move != 1:
            frame -= 1
    return starts
