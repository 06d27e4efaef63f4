"""The feed: what happened to sessions and jobs, in one bounded stream per partition.

The scripts that make something happen add an entry in the same step. Any number of consumer groups follow the
feed; each gets every entry at least once: an entry that a worker took and didn't acknowledge within the lease
goes to another worker. Entries name events, they don't hold them: what was deleted meanwhile is gone for
followers too.

| kind           | what happened                                      | `wanted`: its owner wants to be told
|
|----------------|----------------------------------------------------|-------------------------------------------|
| `opened`       | a session was opened                               |
|
| `final`        | a final was published, event `seq`                 | finals go to the transcript webhook
|
| `closed`       | a session has ended, event `seq`                   |
|
| `job_completed`, `job_failed` | a job has ended, event `seq`        | the job has a `callback_url`
|
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from redis.exceptions import ResponseError

from parlando.store import keys as names
from parlando.store.connection import Redis, retried
from parlando.store.work_queue import Delivered, WorkQueue, group_is_missing

FeedKind = Literal["opened", "final", "closed", "job_completed", "job_failed"]

LEASE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry. `id` is of the session or job, `owner` its API key, hashed; see the module."""

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
        """What a stream's entry says. Raises KeyError, ValueError."""
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
        """A name that no other entry of the keyspace has."""
        return f"{self.partition}-{self.entry}"


class Feed:
    """The feed as one group reads it. Every call raises `UnavailableError` if Redis can't be reached."""

    def __init__(
        self, redis: Redis, group: str, *, worker: str, partitions: int, lease_s: float = LEASE_S
    ) -> None:
        self.group = group
        self._redis = redis
        self._queue = WorkQueue(
            redis, names.feed, group, worker=worker, partitions=partitions, lease_s=lease_s
        )

    async def take(self, limit: int, *, block_ms: int | None = None) -> list[Delivered]:
        """Up to `limit` new entries of each partition. Waits up to `block_ms` for the first; None doesn't
        wait.
        """
        try:
            return await self._queue.take_new(block_ms=block_ms, limit=limit)
        except ResponseError as error:
            if not group_is_missing(error):
                raise
            await self._queue.ensure_groups()
            return []

    async def take_over(self, limit: int, held: Iterable[tuple[int, str]] = ()) -> list[Delivered]:
        """Up to `limit` entries that their worker hasn't acknowledged in time, of a share of the
        partitions.
        """
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
        """Acknowledge entries: the group has dealt with them."""
        if entries:
            key = names.feed(partition)
            await retried(lambda: self._redis.xack(key, self.group, *entries))

    async def tidy(self) -> None:
        """Forget workers that are gone."""
        await self._queue.tidy()
