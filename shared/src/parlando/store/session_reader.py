"""Reads the streams of all sessions that a worker owns, and passes the entries to their work."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

import redis.asyncio as aioredis
import structlog
from redis.exceptions import ResponseError

from parlando.store.audio_streams import Entry, StreamReader
from parlando.store.connection import BROKEN, connect
from parlando.store.keys import SessionKeys
from parlando.store.leases import LeasePool
from parlando.store.session_claims import SessionClaim

READ_BLOCK_MS: Final = 100  # maximum wait of a read; a new session is included in the next read
TICK_S: Final = 0.005  # minimum time between two reads, …
TICK_PER_SESSION_S: Final = 0.001  # … plus this per session …
TICK_MAX_S: Final = 0.03  # … up to this maximum
RETRY_S: Final = 0.2  # pause before a retry while Redis is unreachable
PAUSE_S: Final = 0.02  # while no session accepts input

log = structlog.get_logger(part="reader")


class ReadingWork(Protocol):
    """Work on a session's stream."""

    @property
    def claim(self) -> Any:
        """The claim on the session."""
        ...

    @property
    def position(self) -> str:
        """The id of the last entry read."""
        ...

    @property
    def wants_input(self) -> bool:
        """Whether the work accepts more entries (back-pressure); if not, they stay in Redis."""
        ...

    def feed(self, entries: Iterable[Entry]) -> None:
        """Queue entries, in order. Must not process them: that happens in the work's own task."""
        ...

    async def run(self) -> None:
        """See `leases.Work`."""
        ...


C = TypeVar("C", bound=SessionClaim)
W = TypeVar("W", bound=ReadingWork)


class SessionReader(Generic[C, W]):
    """Issues one XREAD per tick for all sessions of a pool; in a Redis Cluster one per partition.

    `stream`: selects the stream of a session to read. `unit`: bytes per unit of its offsets.
    """

    def __init__(
        self,
        pool: LeasePool[C, Any, W],
        *,
        redis_url: str,
        partitions: int,
        stream: Callable[[SessionKeys], str],
        unit: int,
    ) -> None:
        self._pool = pool
        self._redis_url = redis_url
        self._partitions = partitions
        self._stream = stream
        self._unit = unit

    async def run(self) -> None:
        """Read until cancelled."""
        redis = connect(self._redis_url, connections=self._partitions + 1)
        reader = StreamReader(redis, unit=self._unit)
        clustered = isinstance(redis, aioredis.RedisCluster)
        groups: list[int | None] = [*range(self._partitions)] if clustered else [None]
        try:
            async with asyncio.TaskGroup() as tasks:
                for group in groups:
                    tasks.create_task(self._loop(reader, group))
        finally:
            await redis.aclose()

    async def _loop(self, reader: StreamReader, partition: int | None) -> None:
        while True:
            started = time.monotonic()
            if not self._of(partition):
                self._pool.changed.clear()
                if not self._of(partition):
                    await self._pool.changed.wait()
                continue
            works = {self._stream(w.claim.keys): w for w in self._of(partition) if w.wants_input}
            if not works:
                await asyncio.sleep(PAUSE_S)
                continue
            positions = {key: work.position for key, work in works.items()}
            try:
                found = await reader.read(positions, block_ms=READ_BLOCK_MS)
            except (*BROKEN, ResponseError) as error:
                log.warning("redis.unreachable", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            for key, entries in found.items():
                try:
                    works[key].feed(entries)
                except Exception as error:
                    await self._pool.fail(works[key], error)
            tick = min(TICK_S + TICK_PER_SESSION_S * len(works), TICK_MAX_S)
            await asyncio.sleep(max(0.0, started + tick - time.monotonic()))

    def _of(self, partition: int | None) -> list[W]:
        """The work on sessions of a partition, or of all partitions."""
        return [w for w in self._pool.work if partition is None or w.claim.keys.partition == partition]
