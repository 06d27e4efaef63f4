"""Synthetic voice embeddings."""

from collections.abc import Sequence

import numpy as np

from parlando.domain.audio import Float32
from transcriber.speakers.embedding import DIMENSIONS, unit

MOST = 16
_DIRECTIONS = unit(np.random.default_rng(99).standard_normal((MOST, DIMENSIONS)).astype(np.float32))


def voices(labels: Sequence[int], *, seed: int = 0, spread: float = 0.8) -> Float32:
    """Unit vectors, shape (n, 192), around one direction for each label (0 to 15).

    Cosines are about 1 / (1 + spread²) within a voice and 0 between two; `seed` changes the noise only.
    """
    noise = np.random.default_rng(seed).standard_normal((len(labels), DIMENSIONS)).astype(np.float32)
    return unit(_DIRECTIONS[list(labels)] + spread * unit(noise))
