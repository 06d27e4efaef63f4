"""Followers: plug-ins that are called at least once for each entry of the feed (events of sessions and jobs).

A follower is a subclass of `Follower`; `parlando follow package.module:Class` runs it in a worker process.
Any number of workers share the entries of one follower.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import structlog
from prometheus_client import Counter as PrometheusCounter
from redis.exceptions import ResponseError

from parlando.errors import JobNotFoundError, SessionNotFoundError
from parlando.settings import ServiceSettings
from parlando.store.annotations import Annotations
from parlando.store.connection import BROKEN, Redis
from parlando.store.feed import LEASE_S, Feed, FeedEntry, FeedKind
from parlando.store.history import History
from parlando.store.work_queue import Delivered
from parlando.tasks import end
from parlando.worker.service import WorkerService

BLOCK_MS: Final = 2000
CLEANUP_INTERVAL_S: Final = 3600.0
DRAIN_S: Final = 10.0
RETRY_S: Final = 0.5  # pause before a retry while Redis is unreachable

ENTRIES: Final = PrometheusCounter(
    "parlando_follower_entries_total", "Entries of the feed, by outcome", ["follower", "outcome"]
)

log = structlog.get_logger(part="follower")


@dataclass(frozen=True, slots=True)
class Context:
    """Access to the store for a follower: `history` reads sessions, `annotations` writes annotations."""

    history: History
    annotations: Annotations

    async def annotate(self, entry: FeedEntry, follower: "Follower", kind: str, data: dict[str, Any]) -> int:
        """Annotate the session or job of an entry; returns the annotation's number.

        Idempotent for the same entry and `kind`.

        Raises
        ------
        SessionNotFoundError, JobNotFoundError, ConflictError, UnavailableError

        """
        of = self.annotations.of_job if entry.kind.startswith("job_") else self.annotations.of_session
        return await self.annotations.add(
            of(entry.id), name=f"{entry.name}:{kind}", kind=kind, by=follower.name, data=data
        )


class Follower(ABC):
    """Base class of followers. An exception of `on_entry` is a failed attempt at that entry only."""

    name: ClassVar[str]
    """The name of its consumer group."""

    kinds: ClassVar[frozenset[FeedKind]]
    """The kinds of entries for which it is called."""

    concurrency: ClassVar[int] = 8
    """Maximum entries that one worker processes at a time."""

    attempts: ClassVar[int] = 5
    """Maximum attempts at an entry, of all workers together; then the entry is dropped."""

    timeout_s: ClassVar[float] = 60.0
    """Time-out of an attempt."""

    @abstractmethod
    async def on_entry(self, entry: FeedEntry, context: Context) -> None:
        """Process one entry. Must be idempotent, because it may be called again for the same entry."""


class FollowerPool:
    """One worker's share of a follower's entries; see `service.Pool`. `worker`: unique id of the worker."""

    def __init__(
        self, follower: Follower, redis: Redis, *, worker: str, partitions: int, lease_s: float = LEASE_S
    ) -> None:
        self._follower = follower
        self._feed = Feed(redis, follower.name, worker=worker, partitions=partitions, lease_s=lease_s)
        self._context = Context(
            History(redis, partitions=partitions), Annotations(redis, partitions=partitions)
        )
        self._lease_s = lease_s
        self._room = asyncio.Semaphore(follower.concurrency)
        self._running: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    @property
    def count(self) -> int:
        """Number of entries being processed."""
        return len(self._running)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """The loops that take entries and renew their leases."""
        steps = (self._take, self._take_over, self._renew, self._clean_up)
        return [self._repeat(step) for step in steps]

    async def hand_back(self) -> None:
        """Cancel running attempts and release their entries, for other workers to take over at once."""
        entries = list(self._running)
        await end(*self._running.values())
        await self._feed.release(entries)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except (*BROKEN, ResponseError) as error:
                log.warning("redis.unreachable", follower=self._follower.name, error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("follower.failed", follower=self._follower.name)
                await asyncio.sleep(RETRY_S)

    @property
    def _free(self) -> int:
        return self._follower.concurrency - len(self._running)

    async def _take(self) -> None:
        if self._free <= 0:
            self._ended.clear()
            await self._ended.wait()
            return
        await self._start(await self._feed.take(self._free, block_ms=BLOCK_MS))

    async def _take_over(self) -> None:
        await asyncio.sleep(self._lease_s / 2 * random.uniform(0.8, 1.2))
        if self._free > 0:
            await self._start(await self._feed.take_over(self._free, self._running))

    async def _renew(self) -> None:
        await asyncio.sleep(self._lease_s / 4)
        await self._feed.renew(self._running)

    async def _clean_up(self) -> None:
        await self._feed.delete_idle_consumers()
        await asyncio.sleep(CLEANUP_INTERVAL_S)

    async def _start(self, delivered: Sequence[Delivered]) -> None:
        """Begin to work on entries. Several partitions may bring more than there is room for: these wait."""
        for each in delivered:
            place = (each.partition, each.entry)
            entry = self._read(each)
            if entry is None:
                await self._feed.done(*place)
                continue
            self._running[place] = task = asyncio.create_task(self._in_turn(entry, place, each.attempt))
            task.add_done_callback(lambda _, place=place: self._forget(place))  # type: ignore[misc]

    def _forget(self, place: tuple[int, str]) -> None:
        self._running.pop(place, None)
        self._ended.set()

    async def _in_turn(self, entry: FeedEntry, place: tuple[int, str], attempt: int) -> None:
        async with self._room:
            await self._process(entry, place, attempt)

    def _read(self, delivered: Delivered) -> FeedEntry | None:
        try:
            entry = FeedEntry.of(delivered)
        except (KeyError, ValueError):
            log.error("entry.unreadable", follower=self._follower.name, entry=delivered.entry)
            return None
        return entry if entry.kind in self._follower.kinds else None

    async def _process(self, entry: FeedEntry, place: tuple[int, str], attempt: int) -> None:
        name = self._follower.name
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._follower.timeout_s):
                await self._follower.on_entry(entry, self._context)
        except (SessionNotFoundError, JobNotFoundError):
            outcome = "gone"  # the session or job was deleted or has expired
        except BROKEN as error:
            log.warning("redis.unreachable", follower=name, error=str(error))
            return  # the entry is processed again after its lease expires
        except Exception:
            log.exception("entry.failed", follower=name, entry=entry.name, kind=entry.kind, attempt=attempt)
            if attempt < self._follower.attempts:
                ENTRIES.labels(name, "failed").inc()
                return  # the entry is processed again after its lease expires
            outcome = "given_up"
        else:
            outcome = "done"
            log.debug("entry.done", follower=name, entry=entry.name, took_s=time.monotonic() - started)
        ENTRIES.labels(name, outcome).inc()
        await self._feed.done(*place)


class FollowerService(WorkerService):
    """A worker process that runs followers."""

    kind = "follower"

    def __init__(self, settings: ServiceSettings, followers: Sequence[Follower]) -> None:
        super().__init__(settings, drain_s=DRAIN_S)
        self._pools = {
            follower.name: FollowerPool(follower, self.redis, worker=self.id, partitions=settings.partitions)
            for follower in followers
        }

    def pools(self) -> Sequence[FollowerPool]:
        """One pool per follower."""
        return list(self._pools.values())

    def report(self) -> dict[str, Any]:
        """The followers and the number of entries each is processing."""
        return {"followers": {name: pool.count for name, pool in self._pools.items()}}
