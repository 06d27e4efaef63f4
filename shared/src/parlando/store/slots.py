"""Slots for concurrent deliveries, shared among owners and destinations. No I/O."""

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

MAX_FAILING: Final = 256
"""Maximum failing destinations that a worker tracks, the most recent ones."""


@dataclass(frozen=True, slots=True)
class DeliveryLane:
    """Owner and destination of a delivery. Deliveries of one lane compete for the same slots.

    `owner`: API key, hashed, or "" where no keys are configured.
    `destination`: a host, or a user, in plain text.
    """

    owner: str
    destination: str

    @property
    def names(self) -> tuple[str, str]:
        """Hashes of owner and destination in hexadecimal, as used by the scripts."""
        return _name(self.owner), _name(self.destination)


def _name(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


class Slots:
    """`total` slots: an owner may use half of them, a destination a quarter.

    A destination whose last attempt failed may use one, and all failing destinations together half of the
    slots, so that unresponsive hosts leave slots for the others.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.per_owner = max(1, total // 2)
        self.per_destination = max(1, total // 4)
        self.for_failing = max(1, total // 2)
        self._owners: Counter[str] = Counter()
        self._destinations: Counter[str] = Counter()
        self._failing: dict[str, None] = {}

    @property
    def free(self) -> int:
        """The number of free slots."""
        return self.total - self._owners.total()

    def begin(self, lane: str) -> None:
        """Occupy a slot for an attempt in `lane` (`<owner>:<destination>`, hashed)."""
        owner, _, destination = lane.partition(":")
        self._owners[owner] += 1
        self._destinations[destination] += 1

    def end(self, lane: str, *, failed: bool) -> None:
        """Release the slot of an ended attempt. `failed`: marks the destination as failing, or not."""
        owner, _, destination = lane.partition(":")
        for counter, name in ((self._owners, owner), (self._destinations, destination)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        self._failing.pop(destination, None)
        if failed:
            self._failing[destination] = None
            if len(self._failing) > MAX_FAILING:
                del self._failing[next(iter(self._failing))]

    def in_use(self) -> dict[str, Any]:
        """The slots in use, as an argument of `delivery_take.lua`."""
        return {
            "owners": dict(self._owners),
            "destinations": dict(self._destinations),
            "failing": dict.fromkeys(self._failing, 1),
            "failing_slots": sum(self._destinations[name] for name in self._failing),
        }
