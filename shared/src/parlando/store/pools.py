"""The pools of a keyspace: what their transcribers can do, also while none is alive, and their open sessions.

A pool is known for `LONG_TTL_S` after its last heartbeat. Its queues expire as long after it, so that a pool
that no longer exists costs nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from parlando.domain.pools import UNASSIGNED
from parlando.store.connection import Redis, clock, of_all_partitions, retried
from parlando.store.keys import LONG_TTL_S, POOLS, sessions

ABILITIES: Final = ("pool", "engine", "model", "languages", "tasks", "stages", "metered")
"""The fields of a transcriber's heartbeat that are remembered of its pool."""


@dataclass(frozen=True, slots=True)
class Place:
    """A pool that may get a session, and how many it may have.

    `limit`: maximum open sessions of it, -1 for none. `open`: how many each partition has. `own_limit`:
    maximum open sessions of the owner, -1 for none. `own`: how many of those each partition has. Without
    `open` and `own` the limits are those of a single partition.
    """

    pool: str
    limit: int = -1
    open: tuple[int, ...] = ()
    own_limit: int = -1
    own: tuple[int, ...] = ()

    def limits_in(self, partition: int) -> tuple[int, int]:
        """The maximum open sessions in one partition: of all owners, and of this one."""
        return _rest(self.limit, self.open, partition), _rest(self.own_limit, self.own, partition)


def _rest(limit: int, counts: tuple[int, ...], partition: int) -> int:
    """What the other partitions leave of a limit."""
    if limit < 0:
        return limit
    return max(0, limit - sum(counts) + (counts[partition] if counts else 0))


def remembered(report: dict[str, Any], at: float) -> bytes:
    """The entry of a pool in the hash of pools, from a transcriber's heartbeat at unix time `at`."""
    return orjson.dumps({**{name: report[name] for name in ABILITIES}, "at": at})


async def known_pools(redis: Redis) -> list[dict[str, Any]]:
    """The `ABILITIES` of all known pools, in the order of their names. Raises `UnavailableError`.

    `idle_s`: seconds since the last heartbeat of one of its transcribers.
    """
    found: Any = await retried(lambda: redis.hgetall(POOLS))
    seconds, _ = await retried(lambda: clock(redis, POOLS))
    entries = {name: orjson.loads(entry) for name, entry in found.items()}
    gone = [name for name, entry in entries.items() if seconds - entry["at"] > LONG_TTL_S]
    if gone:
        await retried(lambda: redis.hdel(POOLS, *gone))
    return [
        {**entry, "idle_s": seconds - entry["at"]}
        for name, entry in sorted(entries.items())
        if name not in gone
    ]


async def open_sessions(redis: Redis, partitions: int) -> dict[str, int]:
    """The number of open sessions of each known pool, claimed or not, and of `UNASSIGNED` if there are any.

    Raises `UnavailableError`.
    """
    pools = [*(entry["pool"] for entry in await known_pools(redis)), UNASSIGNED]
    lengths = [
        await of_all_partitions(redis, partitions, lambda pipe, p, pool=pool: pipe.xlen(sessions(p, pool)))  # type: ignore[misc]
        for pool in pools
    ]
    counts = {pool: sum(found) for pool, found in zip(pools, lengths, strict=True)}
    return {pool: count for pool, count in counts.items() if count or pool != UNASSIGNED}
