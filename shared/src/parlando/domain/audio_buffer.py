"""The recent samples of a session or file, addressed by their position. No I/O."""

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Pcm16


class AudioBuffer:
    """A buffer of the samples [start, end). Appending is amortised O(n), trimming is O(1)."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.end = start
        self._origin = start  # position of _store[0]
        self._store: Pcm16 = np.empty(SAMPLE_RATE, np.int16)

    def append(self, pcm: Pcm16) -> None:
        """Append int16 samples of shape (n,)."""
        need = self.end - self._origin + len(pcm)
        if need > len(self._store):
            kept = self._store[self.start - self._origin : self.end - self._origin]
            live = len(kept) + len(pcm)
            grown = np.empty(max(2 * live, SAMPLE_RATE), np.int16)
            grown[: len(kept)] = kept
            self._store, self._origin = grown, self.start
        at = self.end - self._origin
        self._store[at : at + len(pcm)] = pcm
        self.end += len(pcm)

    def slice(self, start: int, end: int) -> Pcm16:
        """Samples [start, end). Raises `IndexError` if the buffer does not contain all of them."""
        if not self.start <= start <= end <= self.end:
            raise IndexError(f"expected samples within {self.start}..{self.end}, got {start}..{end}")
        return self._store[start - self._origin : end - self._origin]

    def trim(self, start: int) -> None:
        """Drop the samples before `start`."""
        self.start = min(max(self.start, start), self.end)
