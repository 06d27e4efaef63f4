"""Mixes two channels to one so that no speech is lost. Pure.

Half of the sum of both is usual, but it is silence where one channel is the inverse of the other, as after a
mistake in wiring. Then the louder channel is taken.
"""

from typing import Final

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Float32, Pcm16

BLOCK: Final = SAMPLE_RATE // 2  # samples for which the decision is the same
MEMORY: Final = 0.8  # weight of the energies of earlier blocks, so that decisions don't alternate
CANCELLED: Final = (
    0.2  # energy of the mix, relative to that of independent channels, below which they cancel out
)
ONE_SIDED: Final = 1e-4  # energy of the other channel, relative to the louder one's, below which it is empty


class Mixer:
    """Mixes the two channels of a recording. The samples don't depend on how it is divided into calls."""

    def __init__(self) -> None:
        self._rest = np.zeros((0, 2), np.int16)
        self._energies = np.zeros(3)  # of both channels and of their mix, with falling weights
        self._total = np.zeros(2)  # of both channels, since the beginning

    def push(self, pcm: Pcm16) -> Pcm16:
        """Mix samples of shape (n, 2). Returns int16 of shape (m, 1), for whole blocks."""
        joined = np.concatenate([self._rest, pcm])
        whole = len(joined) // BLOCK * BLOCK
        self._rest = joined[whole:]
        return self._mixed(joined[:whole])

    def finish(self) -> Pcm16:
        """The samples of the last, incomplete block."""
        rest, self._rest = self._rest, self._rest[:0]
        return self._mixed(rest)

    def _mixed(self, pcm: Pcm16) -> Pcm16:
        blocks = [self._block(pcm[at : at + BLOCK].astype(np.float32)) for at in range(0, len(pcm), BLOCK)]
        joined = np.concatenate([np.zeros(0, np.int16), *blocks])
        return joined[:, np.newaxis]

    def _block(self, block: Float32) -> Pcm16:
        mix = block.mean(axis=1)
        energies = np.append((block**2).sum(axis=0, dtype=np.float64), (mix**2).sum(dtype=np.float64))
        self._energies = MEMORY * self._energies + energies
        self._total += energies[:2]
        parts, mixed = self._energies[:2], self._energies[2]
        cancelled = mixed < CANCELLED * parts.sum() / 4
        one_sided = self._total.min() < ONE_SIDED * self._total.max()
        chosen = block[:, parts.argmax()] if cancelled or one_sided else mix
        return np.round(chosen).astype(np.int16)
