"""Mixes two channels to one so that no speech is lost. Pure.

Half of the sum of both is usual, but it is silence where one channel is the inverse of the other, as after a
mistake in wiring. Then the louder channel is taken, or live half of the difference.
"""

from typing import Final

import numpy as np

from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, Float32, Pcm16

BLOCK: Final = SAMPLE_RATE // 2  # samples for which the decision is the same
MEMORY: Final = 0.8  # weight of the energies of earlier blocks, so that decisions don't alternate
CANCELLED: Final = (
    0.2  # energy of the mix, relative to that of independent channels, below which they cancel out
)
ONE_SIDED: Final = 1e-4  # energy of the other channel, relative to the louder one's, below which it is empty

LIVE_BLOCK: Final = SAMPLE_RATE // 100  # samples for which the decision is the same, live
LIVE_BLOCKS: Final = 100  # blocks whose energies decide


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


class LiveMixer:
    """Mixes the two channels of a live stream, at most 10 ms late.

    A sample depends on the second before it only, so a conversion that is restarted two seconds earlier gives
    the same samples. Energies are sums of integers, which have no rounding errors.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._energies = np.zeros((LIVE_BLOCKS, 2), np.int64)  # of the sum and of both channels, per block

    def push(self, pcm: bytes) -> bytes:
        """Mix s16le of two channels. Returns s16le of one, for whole blocks; the rest is kept."""
        size = LIVE_BLOCK * 2 * BYTES_PER_SAMPLE
        joined = self._rest + pcm
        whole = len(joined) // size * size
        self._rest = joined[whole:]
        return self._mixed(np.frombuffer(joined[:whole], "<i2").reshape(-1, LIVE_BLOCK, 2))

    def finish(self) -> bytes:
        """The samples of the last, incomplete block."""
        whole = len(self._rest) // (2 * BYTES_PER_SAMPLE)
        rest, self._rest = self._rest[: whole * 2 * BYTES_PER_SAMPLE], b""
        return self._mixed(np.frombuffer(rest, "<i2").reshape(1 if whole else 0, whole, 2))

    def _mixed(self, blocks: Pcm16) -> bytes:
        """Mix blocks of shape (n, samples, 2)."""
        wide = blocks.astype(np.int64)
        summed, difference = wide[..., 0] + wide[..., 1], wide[..., 0] - wide[..., 1]
        energies = np.stack([(summed**2).sum(axis=1), (wide**2).sum(axis=(1, 2))], axis=1)
        joined = np.concatenate([self._energies, energies])
        self._energies = joined[-LIVE_BLOCKS:]
        total = np.concatenate([np.zeros((1, 2), np.int64), joined.cumsum(axis=0)])
        recent = (total[LIVE_BLOCKS:] - total[:-LIVE_BLOCKS])[1:]
        cancelled = recent[:, 0] < CANCELLED * recent[:, 1]
        chosen = np.where(cancelled[:, np.newaxis], difference, summed)
        return np.round(chosen / 2).clip(-32768, 32767).astype("<i2").tobytes()
