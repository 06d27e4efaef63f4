"""Durations by stage over the last minute, in a form in which those of many processes add up."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

SLOT_S: Final = 10.0
SLOTS: Final = 6
MIN_S: Final = 1e-4  # the first bucket ends here
GROWTH: Final = 1.1  # each further bucket is that much wider: a quantile is off by a tenth at most
BUCKETS: Final = 145  # up to 100 s

Counts = Mapping[str, int]
"""How many durations fell into each bucket; keys are bucket numbers, as JSON has them."""


class Latencies:
    """What one process has measured. `clock` gives seconds that only go up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: dict[int, dict[str, Counter[str]]] = {}

    def observe(self, stage: str, seconds: float) -> None:
        """Take note that a stage took `seconds`."""
        slot = self._slots.setdefault(self._number(), {})
        slot.setdefault(stage, Counter())[str(_bucket(seconds))] += 1

    def report(self) -> dict[str, dict[str, int]]:
        """Stage → counts of the last minute."""
        newest = self._number()
        self._slots = {n: slot for n, slot in self._slots.items() if n > newest - SLOTS}
        return {stage: dict(counts) for stage, counts in merge(self._slots.values()).items()}

    def _number(self) -> int:
        return int(self._clock() / SLOT_S)


def merge(reports: Iterable[Mapping[str, Counts]]) -> dict[str, Counter[str]]:
    """Reports of several processes as one."""
    merged: dict[str, Counter[str]] = {}
    for report in reports:
        for stage, counts in report.items():
            merged.setdefault(stage, Counter()).update(counts)
    return merged


def quantile(counts: Counts, q: float) -> float | None:
    """The duration in seconds under which a share `q` of all lies; None if there are none."""
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
