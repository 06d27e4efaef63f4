"""Voice activity by loudness: the fallback if Silero can't be loaded. Any loud sound counts as speech."""

from typing import Any, Final

import numpy as np

from parlando.domain.audio import Float32
from parlando.vad import FRAME

THRESHOLD: Final = 0.01  # RMS relative to full scale with probability 0.5: -40 dBFS
STEEPNESS: Final = 4.0  # log-odds per doubling of the RMS


class RmsModel:
    """A model without weights. `why`: the reason for using it."""

    name = "rms"

    def __init__(self, why: str) -> None:
        self.why = why

    def stream(self) -> "RmsStream":
        """A detector for one session."""
        return RmsStream()


class RmsStream:
    """A stateless detector: a frame's probability depends only on its own loudness."""

    def push(self, samples: Float32) -> Float32:
        """Samples of shape (k * 512,) → probabilities of shape (k,)."""
        loudness = np.sqrt(np.mean(np.square(samples.reshape(-1, FRAME)), axis=1) + 1e-12)
        odds = np.log2(loudness / THRESHOLD) * STEEPNESS
        probabilities: Float32 = (1 / (1 + np.exp(-odds))).astype(np.float32)
        return probabilities

    def state(self) -> dict[str, Any]:
        """An empty state."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Does nothing: there is no state."""
