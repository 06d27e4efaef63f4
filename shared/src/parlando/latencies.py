"""Histograms of durations by stage over the last minute, which can be summed over processes."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

SLOT_S: Final = 10.0
SLOTS: Final = 6
MIN_S: Final = 1e-4  # upper bound of the first bucket
GROWTH: Final = 1.1  # ratio of successive bucket bounds: the error of a quantile is at most 10 %
BUCKETS: Final = 145  # up to 100 s

Counts = Mapping[str, int]
"""Number of durations per bucket; keys are bucket numbers as strings (JSON)."""


class Latencies:
    """The durations measured by one process. `clock`: monotonic time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: dict[int, dict[str, Counter[str]]] = {}

    def observe(self, stage: str, seconds: float) -> None:
        """Record that `stage` took `seconds`."""
        slot = self._slots.setdefault(self._number(), {})
        slot.setdefault(stage, Counter())[str(_bucket(seconds))] += 1

    def report(self) -> dict[str, dict[str, int]]:
        """Stage → histogram of the last minute."""
        newest = self._number()
        self._slots = {n: slot for n, slot in self._slots.items() if n > newest - SLOTS}
        return {stage: dict(counts) for stage, counts in merge(self._slots.values()).items()}

    def _number(self) -> int:
        return int(self._clock() / SLOT_S)


def merge(reports: Iterable[Mapping[str, Counts]]) -> dict[str, Counter[str]]:
    """The sum of the reports of several processes."""
    merged: dict[str, Counter[str]] = {}
    for report in reports:
        for stage, counts in report.items():
            merged.setdefault(stage, Counter()).update(counts)
    return merged


def quantile(counts: Counts, q: float) -> float | None:
    """The `q` quantile (0 to 1) in seconds; None if there are no durations."""
    rank = q * sum(counts.values())
    passed = 0
    for bucket, count in sorted((int(bucket), count) for bucket, count in counts.items()):
        passed += count
        if passed >= rank and count:
            return MIN_S * GROWTH**bucket
    return None


def _bucket(seconds: float) -> int:
    if seconds <= MIN_S:
        return 0
    return min(BUCKETS, math.ceil(math.log(seconds / MIN_S, GROWTH)))
