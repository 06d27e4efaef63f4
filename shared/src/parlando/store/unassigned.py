"""Sessions and jobs that were accepted while no pool of transcribers was known: each is given a pool later.

They have the pool `UNASSIGNED`. As soon as a pool that can do the work has a live transcriber, a script gives
the work that pool, exactly once, and queues it there. Work that no live pool can do stays.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from parlando.domain.config import SessionConfig
from parlando.domain.job_options import JobOptions
from parlando.domain.pools import UNASSIGNED, NoPoolError, Pool, capable, pools_of
from parlando.store import keys as names
from parlando.store.connection import Redis, Scripts, of_all_partitions, retried
from parlando.store.heartbeat import alive
from parlando.store.keys import JobKeys, SessionKeys

PAGE: Final = 100  # sessions or jobs read at once


class Unassigned:
    """The unassigned sessions and jobs of a keyspace."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._partitions = partitions

    # --- sessions -------------------------------------------------------------------------------

    async def adopt_sessions(self, pool: str) -> int:
        """Move the sessions for which `pool` is the preferred one of the live pools into its queues.

        Returns their number. Raises `UnavailableError`.
        """
        lengths = await of_all_partitions(
            self._redis, self._partitions, lambda pipe, p: pipe.xlen(names.sessions(p, UNASSIGNED))
        )
        if not any(lengths):
            return 0
        pools = pools_of(await alive(self._redis))
        if pool not in {live.name for live in pools}:  # its first heartbeat is still to come
            return 0
        return sum(
            [await self._adopt(number, pool, pools) for number, length in enumerate(lengths) if length]
        )

    async def _adopt(self, partition: int, pool: str, pools: Sequence[Pool]) -> int:
        queue, target = names.sessions(partition, UNASSIGNED), names.sessions(partition, pool)
        moved, after = 0, "-"
        while True:
            start = after
            page: Any = await retried(lambda start=start: self._redis.xrange(queue, min=start, count=PAGE))  # type: ignore[misc]
            if not page:
                return moved
            after = f"({page[-1][0].decode()}"
            sids = [fields[b"sid"].decode() for _, fields in page]
            sessions = [SessionKeys(sid, partition).session for sid in sids]
            calls = [
                ([session, queue, target], [sid, entry.decode(), pool])
                for session, sid, (entry, _), config in zip(
                    sessions, sids, page, await self._fields(sessions, "config"), strict=True
                )
                if config is None or _pool_of_session(config, pools) == pool
            ]
            if calls:
                moved += sum(await self._scripts.run_many("adopt_session", calls))

    # --- jobs -----------------------------------------------------------------------------------

    async def assign_jobs(self, workers: Sequence[dict[str, Any]]) -> int:
        """Give each job the preferred pool of those that have a transcriber among `workers` (heartbeats).

        Returns the number of jobs that got a pool. Raises `UnavailableError`.
        """
        pools = pools_of(workers)
        if not pools:
            return 0
        counts = await of_all_partitions(
            self._redis, self._partitions, lambda pipe, p: pipe.zcard(names.waiting(p, unassigned=True))
        )
        return sum([await self._assign(number, pools) for number, count in enumerate(counts) if count])

    async def _assign(self, partition: int, pools: Sequence[Pool]) -> int:
        waiting = names.waiting(partition, unassigned=True)
        assigned = left = 0
        while True:
            first = left
            page: Any = await retried(
                lambda first=first: self._redis.zrange(waiting, first, first + PAGE - 1)  # type: ignore[misc]
            )
            if not page:
                return assigned
            members = [member.decode() for member in page]
            jobs = [JobKeys(member.rpartition(":")[2], partition) for member in members]
            found = await self._fields([job.record for job in jobs], "options")
            done = sum(
                [
                    await self._assign_one(job, member, options, pools)
                    for job, member, options in zip(jobs, members, found, strict=True)
                ]
            )
            assigned += done
            left += len(members) - done

    async def _assign_one(
        self, job: JobKeys, member: str, options: bytes | None, pools: Sequence[Pool]
    ) -> int:
        wanted = _options(options)
        pool = _preferred(pools, wanted.languages, wanted.required_task, ())
        if pool is None:
            return 0
        owner = member.partition(":")[0]
        keys = [*job.all(owner, pool), names.waiting(job.partition, unassigned=True)]
        priority = wanted.priority
        return int(
            await self._scripts.run("assign_job", keys, [member, owner, priority.value, priority.weight])
        )

    async def _fields(self, hashes: Sequence[str], field: str) -> list[bytes | None]:
        """A field of several hashes of one partition; None where it is missing."""

        async def read() -> list[bytes | None]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in hashes:
                    pipe.hget(name, field)
                found: list[bytes | None] = await pipe.execute()
            return found

        return await retried(read)


def _preferred(
    pools: Sequence[Pool], languages: Sequence[str], task: str, stages: Sequence[str]
) -> str | None:
    try:
        return capable(pools, languages, task, stages)[0].name
    except NoPoolError:
        return None


def _pool_of_session(config: bytes, pools: Sequence[Pool]) -> str | None:
    """The preferred pool for a session. One of another version is given a pool too, which ends it."""
    try:
        wanted = SessionConfig.model_validate_json(config)
    except ValidationError:
        wanted = SessionConfig()
    return _preferred(pools, wanted.languages, wanted.required_task, wanted.stage_names)


def _options(options: bytes | None) -> JobOptions:
    """A job's options. One of another version, or one that has expired, is treated as one without options."""
    try:
        return JobOptions.model_validate_json(options or b"{}")
    except ValidationError:
        return JobOptions()
