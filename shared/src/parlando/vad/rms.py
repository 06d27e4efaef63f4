"""Voice activity by loudness: the fallback where Silero can't run. It takes any loud sound for speech."""

from typing import Any, Final

import numpy as np

from parlando.domain.audio import Float32
from parlando.vad import FRAME

THRESHOLD: Final = 0.01  # RMS of full scale that counts as even odds, about -40 dBFS
STEEPNESS: Final = 4.0  # per octave of loudness


class RmsModel:
    """No weights; `why` says why it is used."""

    name = "rms"

    def __init__(self, why: str) -> None:
        self.why = why

    def stream(self) -> "RmsStream":
        """A detector for one session."""
        return RmsStream()


class RmsStream:
    """Stateless: a frame's probability depends on its own loudness only."""

    def push(self, samples: Float32) -> Float32:
        """Samples of shape (k * 512,) → probabilities of shape (k,)."""
        loudness = np.sqrt(np.mean(np.square(samples.reshape(-1, FRAME)), axis=1) + 1e-12)
        odds = np.log2(loudness / THRESHOLD) * STEEPNESS
        probabilities: Float32 = (1 / (1 + np.exp(-odds))).astype(np.float32)
        return probabilities

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
