"""Work queues: one Redis stream per partition with a consumer group. Taking an entry gives a lease on it.

A delivered entry stays pending in its group. Its owner renews the lease by resetting the entry's idle time.
An entry that has been idle for longer than the lease is overdue, and any worker may take it over. So is an
entry that its owner has missed to renew, if the owner's connections to Redis have ended.

On one Redis server a single blocking command waits on the streams of all partitions, so that the idle load
does not grow with their number. In a Redis Cluster, where a command is limited to one slot, the streams are
polled in pipelines, one per node.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as aioredis
from redis.exceptions import ResponseError

from parlando.store.connection import Redis, retried
from parlando.store.presence import Presence

CONSUMER_EXPIRY_MS: Final = 3_600_000  # consumers without pending entries are deleted after this idle time
POLL_MIN_S: Final = 0.05
POLL_MAX_S: Final = 1.0
POLL_PER_PARTITION_S: Final = 1 / 128  # between two polls of a Redis Cluster, for each partition
PARTITIONS_PER_POLL: Final = (
    32  # partitions searched for overdue entries per round; more if there are so many …
)
ROUNDS: Final = 3  # … that this number of rounds would be exceeded
SUSPECT_MS: Final = (
    700  # idle time after which an entry's owner may be disconnected; leases are renewed more often
)


@dataclass(frozen=True, slots=True)
class _Overdue:
    """An entry to take over. `idle_ms`: its least idle time, so that only one worker gets it."""

    partition: int
    entry: bytes
    attempts: int
    idle_ms: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """An entry of a queue that was delivered to this worker."""

    partition: int
    entry: str
    fields: Mapping[bytes, bytes]
    attempt: int = 1
    """Number of deliveries to workers, including this one."""


class WorkQueue:
    """One worker's access to one queue.

    `stream`: partition → key of its stream. `ttl_s`: seconds after the queue's last worker and last entry at
    which its streams expire; None for a queue that stays. `presence`: with it, entries of workers that are
    disconnected are overdue after `SUSPECT_MS`; needs leases that are renewed more often than that.
    """

    def __init__(
        self,
        redis: Redis,
        stream: Callable[[int], str],
        group: str,
        *,
        worker: str,
        partitions: int,
        lease_s: float,
        ttl_s: int | None = None,
        presence: Presence | None = None,
    ) -> None:
        self._redis = redis
        self._group = group
        self._worker = worker
        self._lease_ms = int(lease_s * 1000)
        self._ttl_s = ttl_s
        self._presence = presence
        self._streams = [stream(partition) for partition in range(partitions)]
        self._partition_of = {key.encode(): number for number, key in enumerate(self._streams)}
        self._clustered = isinstance(redis, aioredis.RedisCluster)
        self._next_look = 0

    @property
    def rounds(self) -> int:
        """Number of calls of `take_over` that together search all partitions."""
        return min(ROUNDS, -(-len(self._streams) // PARTITIONS_PER_POLL))

    async def ensure_groups(self) -> None:
        """Create the missing consumer groups of the streams. Raises `UnavailableError`."""

        async def create() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for stream in self._streams:
                    pipe.xgroup_create(stream, self._group, id="0", mkstream=True)
                    if self._ttl_s is not None:
                        pipe.expire(stream, self._ttl_s)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception) and "BUSYGROUP" not in str(answer):
                    raise answer
            return answers

        await retried(create)

    async def tidy(self) -> None:
        """Renew the lifetime of the streams; delete consumers that nobody needs.

        Those are consumers that have been idle for `CONSUMER_EXPIRY_MS` and have no pending entries.
        """
        for stream in self._streams:
            if self._ttl_s is not None:
                await retried(lambda stream=stream: self._redis.expire(stream, self._ttl_s))  # type: ignore[misc]
            consumers: Any = await retried(
                lambda stream=stream: self._redis.xinfo_consumers(stream, self._group)  # type: ignore[misc]
            )
            for consumer in consumers:
                if consumer["pending"] == 0 and consumer["idle"] > CONSUMER_EXPIRY_MS:
                    await self._redis.xgroup_delconsumer(stream, self._group, consumer["name"])

    async def take_new(self, *, block_ms: int | None = None, limit: int = 1) -> list[Delivered]:
        """Take new entries, at most `limit` of each partition.

        Waits up to `block_ms` for the first one; None does not wait.
        """
        if self._clustered:
            return await self._poll(block_ms, limit)
        answer: Any = await self._redis.xreadgroup(
            self._group, self._worker, dict.fromkeys(self._streams, ">"), count=limit, block=block_ms
        )
        return self._delivered(answer)

    def _delivered(self, answer: Any) -> list[Delivered]:
        return [
            Delivered(self._partition_of[stream], entry.decode(), fields)
            for stream, entries in answer or []
            for entry, fields in entries
        ]

    async def _poll(self, block_ms: int | None, limit: int) -> list[Delivered]:
        pause_s = min(max(len(self._streams) * POLL_PER_PARTITION_S, POLL_MIN_S), POLL_MAX_S)
        left_s = (block_ms or 0) / 1000
        while True:
            async with self._redis.pipeline(transaction=False) as pipe:
                for stream in self._streams:
                    pipe.xreadgroup(self._group, self._worker, {stream: ">"}, count=limit)
                found = await pipe.execute()
            if delivered := [each for answer in found for each in self._delivered(answer)]:
                return delivered
            if left_s <= 0:
                return []
            await asyncio.sleep(pause_s)
            left_s -= pause_s

    async def take_over(self, limit: int, held: Collection[tuple[int, str]] = ()) -> list[Delivered]:
        """Take over up to `limit` overdue entries of a share of the partitions; see `rounds`.

        `held`: (partition, entry) of this worker's own entries. They are skipped even if overdue (after Redis
        was unreachable), because their leases will be renewed.
        """
        overdue = await self._overdue(limit + len(held), held) if limit > 0 else []
        random.shuffle(overdue)  # so that concurrent workers try different entries first
        taken: list[Delivered] = []
        for each in overdue:
            if len(taken) == limit:
                break
            stream = self._streams[each.partition]
            claimed: Any = await self._redis.xclaim(
                stream, self._group, self._worker, each.idle_ms, [each.entry]
            )
            for entry, fields in claimed:
                if entry is None or not fields:  # deleted: Redis before 7 still lists it
                    await self._redis.xack(stream, self._group, each.entry)
                else:
                    taken.append(Delivered(each.partition, entry.decode(), fields, each.attempts + 1))
        return taken

    async def renew(self, entries: Collection[tuple[int, str]]) -> None:
        """Renew the leases of this worker's entries, given by partition and id."""
        if not entries:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition, entry in entries:
                pipe.xclaim(self._streams[partition], self._group, self._worker, 0, [entry], justid=True)
            await pipe.execute()

    async def remove(self, partition: int, entry: str) -> None:
        """Remove an entry, whose work is done. Raises `UnavailableError`."""
        stream = self._streams[partition]

        async def remove() -> None:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(stream, self._group, entry)
                pipe.xdel(stream, entry)
                await pipe.execute()

        await retried(remove)

    async def release(self, entries: Collection[tuple[int, str]]) -> None:
        """End the leases of entries that this worker has: they are overdue from now on."""
        if not entries:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition, entry in entries:
                pipe.xclaim(
                    self._streams[partition],
                    self._group,
                    self._worker,
                    0,
                    [entry],
                    idle=self._lease_ms + 1,
                    justid=True,
                )
            await pipe.execute()

    async def _overdue(self, limit: int, held: Collection[tuple[int, str]]) -> list[_Overdue]:
        """Overdue entries of the next share of the partitions.

        Redis filters by idle time, so that many entries which are not overdue can't hide an overdue one.
        """
        share = -(-len(self._streams) // self.rounds)
        first = self._next_look
        looked_at = range(first, min(first + share, len(self._streams)))
        self._next_look = looked_at.stop % len(self._streams)
        limits = [self._lease_ms] if self._presence is None else [self._lease_ms, SUSPECT_MS]
        async with self._redis.pipeline(transaction=False) as pipe:
            for idle_ms in limits:
                for partition in looked_at:
                    stream = self._streams[partition]
                    pipe.xpending_range(stream, self._group, min="-", max="+", count=limit, idle=idle_ms)
            answers: Sequence[Any] = await pipe.execute()
        own = set(held)
        found = [
            (partition, pending)
            for partition, answer in zip([*looked_at] * len(limits), answers, strict=True)
            for pending in answer
            if (partition, pending["message_id"].decode()) not in own
        ]
        disconnected = await self._disconnected(found)
        overdue: dict[tuple[int, bytes], _Overdue] = {}
        for partition, pending in found:
            expired = pending["time_since_delivered"] >= self._lease_ms
            if expired or pending["consumer"].decode() in disconnected:
                entry, attempts = pending["message_id"], int(pending["times_delivered"])
                idle_ms = self._lease_ms if expired else SUSPECT_MS
                overdue[partition, entry] = _Overdue(partition, entry, attempts, idle_ms)
        return [*overdue.values()]

    async def _disconnected(self, pending: Collection[tuple[int, Any]]) -> Collection[str]:
        """The disconnected owners of entries whose leases haven't expired."""
        if self._presence is None:
            return ()
        return await self._presence.disconnected(
            {
                each["consumer"].decode()
                for _, each in pending
                if each["time_since_delivered"] < self._lease_ms
            }
        )


async def ensure_group(redis: Redis, stream: str, group: str) -> None:
    """Create a stream's consumer group if it does not exist."""
    try:
        await retried(lambda: redis.xgroup_create(stream, group, id="0", mkstream=True))
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def group_is_missing(error: ResponseError) -> bool:
    """Whether the error means that a stream or group is missing: Redis was restarted without its data."""
    return "NOGROUP" in str(error) or "no such key" in str(error)
