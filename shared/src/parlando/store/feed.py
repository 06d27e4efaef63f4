"""The feed: changes of sessions and jobs, in one bounded stream per partition.

The scripts that change a session or job add the entry atomically. Any number of consumer groups read the
feed; each group gets every entry at least once: an entry that a worker does not acknowledge within the lease
goes to another worker. Entries refer to events and don't contain them: an event that was deleted meanwhile
can't be read any more.

| kind            | meaning                               | `wanted`: the owner has requested           |
|-----------------|---------------------------------------|---------------------------------------------|
| `opened`        | a session was opened                  |                                             |
| `final`         | a final was published as event `seq`  | finals at the transcript webhook            |
| `annotated`     | annotation `seq` was added            |                                             |
| `closed`        | a session has closed with event `seq` |                                             |
| `job_completed` | a job was completed with event `seq`  | the result at the job's `callback_url`      |
| `job_failed`    | a job has failed with event `seq`     | the error at the job's `callback_url`       |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from redis.exceptions import ResponseError

from parlando.store import keys as names
from parlando.store.connection import Redis, retried
from parlando.store.work_queue import Delivered, WorkQueue, group_is_missing

FeedKind = Literal["opened", "final", "annotated", "closed", "job_completed", "job_failed"]

LEASE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry; see the module. `id`: id of the session or job. `owner`: its API key, hashed."""

    partition: int
    entry: str
    kind: FeedKind
    id: str
    owner: str
    uid: str
    seq: int
    wanted: bool

    @classmethod
    def of(cls, delivered: Delivered) -> "FeedEntry":
        """Decode a stream entry. Raises KeyError, ValueError."""
        fields = {name.decode(): value.decode() for name, value in delivered.fields.items()}
        return cls(
            delivered.partition,
            delivered.entry,
            fields["kind"],  # type: ignore[arg-type]
            fields["id"],
            fields["key"],
            fields["uid"],
            int(fields["seq"]),
            fields["wanted"] == "1",
        )

    @property
    def name(self) -> str:
        """A name unique in the keyspace."""
        return f"{self.partition}-{self.entry}"


class Feed:
    """One consumer group's access to the feed. Every call raises `UnavailableError`."""

    def __init__(
        self, redis: Redis, group: str, *, worker: str, partitions: int, lease_s: float = LEASE_S
    ) -> None:
        self.group = group
        self._redis = redis
        self._queue = WorkQueue(
            redis, names.feed, group, worker=worker, partitions=partitions, lease_s=lease_s
        )

    async def take(self, limit: int, *, block_ms: int | None = None) -> list[Delivered]:
        """Take up to `limit` new entries of each partition.

        Waits up to `block_ms` for the first one; None does not wait.
        """
        try:
            return await self._queue.take_new(block_ms=block_ms, limit=limit)
        except ResponseError as error:
            if not group_is_missing(error):
                raise
            await self._queue.ensure_groups()
            return []

    async def take_over(self, limit: int, held: Iterable[tuple[int, str]] = ()) -> list[Delivered]:
        """Take over up to `limit` overdue entries; see `WorkQueue.take_over`."""
        try:
            return await self._queue.take_over(limit, [*held])
        except ResponseError as error:
            if not group_is_missing(error):
                raise
            return []

    async def renew(self, entries: Iterable[tuple[int, str]]) -> None:
        """Renew the leases of entries, given by partition and id."""
        await self._queue.renew([*entries])

    async def release(self, entries: Iterable[tuple[int, str]]) -> None:
        """End the leases of entries, so that other workers take them over at once."""
        await self._queue.release([*entries])

    async def done(self, partition: int, *entries: str) -> None:
        """Acknowledge processed entries."""
        if entries:
            key = names.feed(partition)
            await retried(lambda: self._redis.xack(key, self.group, *entries))

    async def delete_idle_consumers(self) -> None:
        """Delete consumers of workers that no longer run."""
        try:
            await self._queue.tidy()
        except ResponseError as error:
            if not group_is_missing(error):  # `take` creates it
                raise
