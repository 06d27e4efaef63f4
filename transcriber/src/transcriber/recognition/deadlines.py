"""The order in which windows are decoded: by the time until which each is useful. Pure: no clock, no I/O.

Earliest deadline first is optimal as long as all deadlines can be met. A window that only improves a result
(`Lane.REDECODE`) is decoded if all windows in the queue still meet their deadlines then, else dropped; one
that expires later than its deadline is decoded in its turn, and dropped only when it expires.

Source: Liu, Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time Environment" (1973).
"""

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")


class Lane(IntEnum):
    """What a window is for."""

    FIRST_PARTIAL = 0
    FINAL = 1
    PARTIAL = 2
    REDECODE = 3
    CHUNK = 4


SLACK_S: Final = {Lane.FIRST_PARTIAL: 0.1, Lane.FINAL: 0.3, Lane.PARTIAL: 0.5}
"""Seconds from the request of a window to its deadline, if the request has no other."""

FIXED_S: Final = 1.0  # the costs of a window that don't depend on its length, in seconds of audio
WEIGHT: Final = 0.05  # weight of a new observation


def in_turn(lane: Lane, deadline: float | None, expires: float | None) -> bool:
    """Whether a window is decoded in its turn; otherwise only if all waiting windows have time for it.

    Further decodes are decoded in their turn if they expire after their deadline, other windows always.
    """
    return lane is not Lane.REDECODE or (deadline is not None and expires is not None and expires > deadline)


class Costs:
    """Engine time of a window, predicted from its length and what earlier ones of its lane took."""

    def __init__(self) -> None:
        self._rates: dict[Lane, float] = {}

    def observe(self, lane: Lane, audio_s: float, took_s: float) -> None:
        """Record that the engine took `took_s` seconds for a window of `audio_s` seconds."""
        rate = took_s / (audio_s + FIXED_S)
        before = self._rates.setdefault(lane, rate)
        self._rates[lane] = before + WEIGHT * (rate - before)

    def predict(self, lane: Lane, audio_s: float) -> float:
        """Seconds of engine time; 0 before anything was observed."""
        rate = self._rates.get(lane, self._rates.get(Lane.FINAL, 0.0))
        return rate * (audio_s + FIXED_S)


@dataclass(frozen=True, slots=True, order=True)
class _Entry(Generic[Item]):
    """A window in the queue. Ordered by its deadline, then by the order of arrival."""

    deadline: float
    number: int
    lane: Lane = field(compare=False)
    audio_s: float = field(compare=False)
    expires: float = field(compare=False)
    item: Item = field(compare=False)


class Waiting(Generic[Item]):
    """The queue of live windows. `now` and deadlines are seconds of one clock."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._queue: list[_Entry[Item]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Item]:
        return (entry.item for entry in self._queue)

    def has(self, lane: Lane) -> bool:
        """Whether a window of `lane` waits."""
        return any(entry.lane is lane for entry in self._queue)

    def add(
        self, item: Item, lane: Lane, deadline: float, audio_s: float, *, expires: float | None = None
    ) -> None:
        """Add a window of `audio_s` seconds. `expires`: when it is of no use; None: at `deadline`."""
        expires = deadline if expires is None else expires
        insort(self._queue, _Entry(deadline, next(self._numbers), lane, audio_s, expires, item))

    def discard(self, item: Item) -> None:
        """Remove a window, if it waits."""
        self._queue = [entry for entry in self._queue if entry.item is not item]

    def next(self, now: float, *, redecode: bool, drop: Callable[[Item], None]) -> Item | None:
        """Remove and return the window to decode next; None if none waits.

        `redecode`: whether windows that only improve a result are decoded. `drop` is called for those that
        are removed because there is no time for them.
        """
        self._drop_late(now, drop)
        while self._queue:
            entry = self._queue[0]
            decoded = entry.lane is not Lane.REDECODE or (
                redecode and (in_turn(entry.lane, entry.deadline, entry.expires) or self._all_in_time(now))
            )
            del self._queue[0]
            if decoded:
                return entry.item
            drop(entry.item)
        return None

    def _drop_late(self, now: float, drop: Callable[[Item], None]) -> None:
        late = [
            entry
            for entry in self._queue
            if entry.lane is Lane.REDECODE
            and now + self._costs.predict(Lane.REDECODE, entry.audio_s) > entry.expires
        ]
        for entry in late:
            self._queue.remove(entry)
            drop(entry.item)

    def _all_in_time(self, now: float) -> bool:
        """Whether all waiting windows, decoded in their order, meet their deadlines."""
        for entry in self._queue:
            now += self._costs.predict(entry.lane, entry.audio_s)
            if now > entry.expires:
                return False
        return True
