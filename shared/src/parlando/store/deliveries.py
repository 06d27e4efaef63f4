"""Deliveries: results of sessions and jobs sent to other systems, at least once, by any gateway.

A gateway creates deliveries from feed entries, leases those that may start, and renews the leases while it
works on them. An attempt ends in success, a later retry, or a dead letter. All state is in Redis, so it
survives the death of a gateway. A consumer group would hand out entries in their order only; here the next
delivery is chosen by lane (owner and destination), so the ready ones are kept in a sorted set.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from parlando.errors import DeliveryNotFoundError, UnavailableError
from parlando.store.connection import BROKEN, Redis, Scripts, retried
from parlando.store.keys import LONG_TTL_S, DeliveryKeys
from parlando.store.slots import DeliveryLane, Slots

PAGE: Final = 100
MAX_DELIVERIES: Final = 100_000
"""Maximum deliveries per queue and partition; further ones stay in the feed."""

Follow = Literal["done", "later", "dead", "ready"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery. `attempts`: number of ended attempts. Times are unix milliseconds.

    `id`: unique within its queue and partition. `token`: token of the lease, "" without a lease.
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
        """The number of the current or next attempt; the first is 1."""
        return self.attempts + 1

    @classmethod
    def read(cls, identifier: bytes, partition: int, record: bytes) -> "Delivery":
        """Decode a record written by `delivery.lua`."""
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
    """A delivery to create from a feed entry. `entry`: id of the entry. `fields`: payload of the delivery."""

    entry: str
    lane: DeliveryLane
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class QueueState:
    """Numbers of deliveries in a partition.

    `startable`: may start now if their lanes have free slots. `waiting`: neither done nor dead.
    `dead`: dead letters.
    """

    startable: int
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a queue; numbers of deliveries are per partition.

    `attempts`: maximum attempts of a delivery. `dead_ttl_s`, `max_dead`: lifetime and maximum number of dead
    letters. `per_owner`: maximum deliveries of one owner.
    """

    attempts: int
    dead_ttl_s: int
    max_dead: int
    per_owner: int = MAX_DELIVERIES // 4


class Deliveries:
    """The deliveries of one queue in all partitions. `queue` is also the name of its consumer group.

    Every call raises `UnavailableError` if Redis is unreachable.
    """

    def __init__(self, redis: Redis, queue: str, *, partitions: int, bounds: Bounds) -> None:
        self.queue = queue
        self.partitions = partitions
        self._redis = redis
        self._scripts = Scripts(redis)
        self._keys = [DeliveryKeys(partition, queue) for partition in range(partitions)]
        self._bounds = bounds
        self._ttl_s = LONG_TTL_S + bounds.dead_ttl_s

    async def poll(self) -> list[QueueState]:
        """Count the deliveries of each partition; also prunes dead letters."""
        args = [self._bounds.dead_ttl_s * 1000, self._bounds.max_dead]
        answers = await self._scripts.run_many("delivery_look", [(keys.all(), args) for keys in self._keys])
        return [QueueState(*answer) for answer in answers]

    async def accept(self, partition: int, selected: Sequence[Selected]) -> int:
        """Create deliveries and acknowledge their feed entries; returns how many entries were processed.

        Skips entries that were acknowledged before. At `MAX_DELIVERIES` the remaining entries stay pending.
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
        """Lease deliveries for the free slots, round-robin over the lanes, starting after lane `after`.

        `token` must be unique for each call. Returns the lane of the last one (`after` if none) and the
        deliveries.
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
        """Renew leases; returns the deliveries whose lease is lost (taken over or dropped)."""
        calls = [
            (self._keys[each.partition].all(), [int(lease_s * 1000), each.id, each.token])
            for each in deliveries
        ]
        answers = await self._scripts.run_many("delivery_renew", calls)
        return [each for each, (kept,) in zip(deliveries, answers, strict=True) if not kept]

    async def end(
        self, delivery: Delivery, follow: Follow, *, delay_s: float = 0.0, error: str = "", detail: str = ""
    ) -> bool:
        """End an attempt. Returns False, without any change, if its lease was lost.

        `follow`: "done"; "later" to retry after `delay_s`; "dead"; "ready" for an interrupted attempt, which
        doesn't count.
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
        """Up to `limit` dead letters, or other deliveries, of an owner (hashed API key), newest first."""
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
        """Ids in a state, in the order of the index: newest first except for state ready."""
        if state == "ready":
            lane = DeliveryLane(owner, "").names[0]
            low, high = f"[{lane}:", f"({lane};"
            members: Any = await retried(
                lambda: self._redis.zrangebylex(index, low, high, start=start, num=end - start + 1)
            )
            return [member.rpartition(b":")[2] for member in members]
        page: Any = await retried(lambda: self._redis.zrevrange(index, start, end))
        return list(page)

    async def all(self) -> AsyncIterator[Delivery]:
        """All deliveries of all owners, in any state and in no order."""
        for partition, keys in enumerate(self._keys):
            try:
                async for name, record in self._redis.hscan_iter(keys.records, count=1000):
                    yield Delivery.read(name, partition, record)
            except BROKEN as error:
                raise UnavailableError(f"Redis can't be reached: {error}") from error

    async def retry(self, delivery: Delivery) -> str:
        """Make a delivery ready now; returns its state before. Raises `DeliveryNotFoundError`."""
        return await self._changed("delivery_retry", delivery, [delivery.id, self._ttl_s])

    async def drop(self, delivery: Delivery) -> str:
        """Delete a delivery; returns its state before. Raises `DeliveryNotFoundError`."""
        return await self._changed("delivery_drop", delivery, [delivery.id])

    async def _changed(self, script: str, delivery: Delivery, args: list[Any]) -> str:
        before = await self._scripts.run(script, self._keys[delivery.partition].all(), args)
        if before is None:
            raise _unknown(delivery.id)
        return str(before.decode())


def _unknown(identifier: str) -> DeliveryNotFoundError:
    return DeliveryNotFoundError(f"No delivery {identifier} is known; it may be done, dropped or expired")
