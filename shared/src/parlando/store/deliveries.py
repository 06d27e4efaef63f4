"""Deliveries: work that follows a session or job, done at least once by any gateway.

A gateway makes them of the feed's entries, leases those that may start, renews the leases while it works on
them, and decides at the end of an attempt what follows: nothing, another attempt later, or a dead letter. All
state is in Redis, so it survives a gateway's death. A stream's consumer group gives entries in their order
only; here the next one is chosen by lane (owner and destination), for which the ready ones lie in a sorted
set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from parlando.errors import DeliveryNotFoundError
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.keys import LONG_TTL_S, DeliveryKeys
from parlando.store.slots import DeliveryLane, Slots

PAGE: Final = 100
MAX_DELIVERIES: Final = 100_000
"""Deliveries of a queue and partition; what would be more stays in the feed."""

Follow = Literal["done", "later", "dead", "ready"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery. `attempts` counts those that have ended; times are unix milliseconds.

    `id` is unique within its queue and partition. `token`: of the lease, "" if it isn't worked on.
    """

    id: str
    partition: int
    lane: str
    owner: str
    destination: str
    fields: dict[str, str]
    queued_ms: int
    attempts: int
    state: str
    token: str = ""
    next_ms: int | None = None
    error: str = ""
    detail: str = ""

    @property
    def attempt(self) -> int:
        """The number of the attempt that is under way or comes next; the first is 1."""
        return self.attempts + 1

    @classmethod
    def read(cls, identifier: bytes, partition: int, record: bytes) -> "Delivery":
        """A delivery as `delivery.lua` stores it."""
        found = orjson.loads(record)
        return cls(
            id=identifier.decode(),
            partition=partition,
            lane=found["lane"],
            owner=found["owner"],
            destination=found["destination"],
            fields=found["fields"],
            queued_ms=int(found["queued"]),
            attempts=int(found["attempts"]),
            state=found["state"],
            token=found.get("token", ""),
            next_ms=int(found["next"]) if "next" in found else None,
            error=found.get("error", ""),
            detail=found.get("detail", ""),
        )


@dataclass(frozen=True, slots=True)
class Selected:
    """What is to be delivered because of an entry of the feed. `entry`: its id; `fields`: what is needed for
    it.
    """

    entry: str
    lane: DeliveryLane
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class QueueState:
    """What there is to do in a partition.

    `startable`: deliveries that may start, if their lanes have slots.
    `waiting`: all that are neither done nor dead.
    """

    startable: int
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Attempts of a delivery, how long and how many dead letters are kept, and how many an owner may have.

    Numbers of deliveries are per partition.
    """

    attempts: int
    dead_ttl_s: int
    max_dead: int
    per_owner: int = MAX_DELIVERIES // 4


class Deliveries:
    """The deliveries of one queue, which is also the name of its group on the feed, in all partitions.

    Every call raises `UnavailableError` if Redis can't be reached.
    """

    def __init__(self, redis: Redis, queue: str, *, partitions: int, bounds: Bounds) -> None:
        self.queue = queue
        self.partitions = partitions
        self._redis = redis
        self._scripts = Scripts(redis)
        self._keys = [DeliveryKeys(partition, queue) for partition in range(partitions)]
        self._bounds = bounds
        self._ttl_s = LONG_TTL_S + bounds.dead_ttl_s

    async def look(self) -> list[QueueState]:
        """What there is to do in each partition."""
        args = [self._bounds.dead_ttl_s * 1000, self._bounds.max_dead]
        answers = await self._scripts.run_many("delivery_look", [(keys.all(), args) for keys in self._keys])
        return [QueueState(*answer) for answer in answers]

    async def accept(self, partition: int, selected: Sequence[Selected]) -> int:
        """Make deliveries, and acknowledge their entries of the feed; how many were dealt with, in their
        order.

        An entry that was acknowledged before makes none. When there are too many deliveries the rest stays.
        """
        args: list[Any] = [self.queue, self._ttl_s, MAX_DELIVERIES, self._bounds.per_owner]
        for each in selected:
            record = {
                "lane": ":".join(each.lane.names),
                "owner": each.lane.owner,
                "destination": each.lane.destination,
                "fields": each.fields,
                "queued": int(each.entry.partition("-")[0]),
                "attempts": 0,
            }
            args += [each.entry, orjson.dumps(record)]
        return int(await self._scripts.run("delivery_accept", self._keys[partition].all(), args))

    async def take(
        self, partition: int, *, token: str, slots: Slots, lease_s: float, after: str
    ) -> tuple[str, list[Delivery]]:
        """Lease deliveries for the free slots, the lanes in turn, beginning behind lane `after`.

        `token` must be new for each call. Returns them, and the lane of the last (`after` if there is none).
        """
        lane, *found = await self._scripts.run(
            "delivery_take",
            self._keys[partition].all(),
            [
                token,
                slots.free,
                int(lease_s * 1000),
                slots.per_owner,
                slots.per_destination,
                slots.for_failing,
                orjson.dumps(slots.in_use()),
                after,
                self._bounds.attempts,
                self._ttl_s,
            ],
        )
        pairs = zip(found[::2], found[1::2], strict=True)
        return lane.decode(), [Delivery.read(name, partition, record) for name, record in pairs]

    async def renew(self, deliveries: list[Delivery], lease_s: float) -> list[Delivery]:
        """Renew leases; those that are lost, for another worker has them or they were dropped."""
        calls = [
            (self._keys[each.partition].all(), [int(lease_s * 1000), each.id, each.token])
            for each in deliveries
        ]
        answers = await self._scripts.run_many("delivery_renew", calls)
        return [each for each, (kept,) in zip(deliveries, answers, strict=True) if not kept]

    async def end(
        self, delivery: Delivery, follow: Follow, *, delay_s: float = 0.0, error: str = "", detail: str = ""
    ) -> bool:
        """End an attempt; False if its lease was lost, so that it's no longer ours to say what follows.

        `follow`: "done"; "later", after `delay_s`; "dead"; "ready" if it was broken off and doesn't count.
        """
        answer = await self._scripts.run(
            "delivery_end",
            self._keys[delivery.partition].all(),
            [delivery.id, delivery.token, follow, int(delay_s * 1000), error, detail, self._ttl_s],
        )
        return bool(answer)

    # --- for operators ------------------------------------------------------------------------

    async def get(self, partition: int, identifier: str) -> Delivery:
        """A delivery. Raises `DeliveryNotFoundError`."""
        if partition < self.partitions:
            name = self._keys[partition].records
            record: Any = await retried(lambda: self._redis.hget(name, identifier))
            if record is not None:
                return Delivery.read(identifier.encode(), partition, record)
        raise _unknown(identifier)

    async def find(self, owner: str, *, dead: bool, limit: int) -> list[Delivery]:
        """Up to `limit` deliveries of an owner (a hashed API key), newest first: dead, or the others."""
        found: list[Delivery] = []
        for partition, keys in enumerate(self._keys):
            for state in ("dead",) if dead else ("ready", "later", "working"):
                found += await self._of_owner(owner, partition, keys, state, limit)
        return sorted(found, key=lambda each: each.queued_ms, reverse=True)[:limit]

    async def _of_owner(
        self, owner: str, partition: int, keys: DeliveryKeys, state: str, limit: int
    ) -> list[Delivery]:
        found: list[Delivery] = []
        index, start = keys.index(state), 0
        while len(found) < limit:
            page = await self._page(index, owner, state, start, start + PAGE - 1)
            if not page:
                break
            records: Any = await retried(lambda page=page: self._redis.hmget(keys.records, page))  # type: ignore[misc]
            for name, record in zip(page, records, strict=True):
                if record is not None:
                    delivery = Delivery.read(name, partition, record)
                    if delivery.owner == owner and delivery.state == state:
                        found.append(delivery)
            start += PAGE
        return found

    async def _page(self, index: str, owner: str, state: str, start: int, end: int) -> list[bytes]:
        """Ids in a state, newest first as far as the index can tell."""
        if state == "ready":
            lane = DeliveryLane(owner, "").names[0]
            low, high = f"[{lane}:", f"({lane};"
            members: Any = await retried(
                lambda: self._redis.zrangebylex(index, low, high, start=start, num=end - start + 1)
            )
            return [member.rpartition(b":")[2] for member in members]
        page: Any = await retried(lambda: self._redis.zrevrange(index, start, end))
        return list(page)

    async def retry(self, delivery: Delivery) -> str:
        """Have a delivery tried now; the state in which it was. Raises `DeliveryNotFoundError`."""
        return await self._changed("delivery_retry", delivery, [delivery.id, self._ttl_s])

    async def drop(self, delivery: Delivery) -> str:
        """Delete a delivery; the state in which it was. Raises `DeliveryNotFoundError`."""
        return await self._changed("delivery_drop", delivery, [delivery.id])

    async def _changed(self, script: str, delivery: Delivery, args: list[Any]) -> str:
        before = await self._scripts.run(script, self._keys[delivery.partition].all(), args)
        if before is None:
            raise _unknown(delivery.id)
        return str(before.decode())


def _unknown(identifier: str) -> DeliveryNotFoundError:
    return DeliveryNotFoundError(f"No delivery {identifier} is known; it may be done, dropped or expired")
