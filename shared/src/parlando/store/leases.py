"""Leases on work, for all kinds of workers: claim, renew, take over, hand back.

A claim is work with a fencing token (its epoch). A pool holds a worker's claims, runs each in its own task,
renews their leases, and takes over work whose lease has expired. A fault in one claim's work counts against
that claim only.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import ResponseError

from parlando.errors import FencedError, ParlandoError, StorageError, UnavailableError
from parlando.store.connection import BROKEN
from parlando.store.work_queue import Delivered, WorkQueue, group_is_missing
from parlando.tasks import end

MAX_FAILURES: Final = 3
"""Maximum failures on a session, of all workers together, before it is ended."""

BLOCK_MS: Final = 2000  # maximum wait for work in one call
PAUSE_S: Final = 0.05  # between two checks of the capacity, and after a claim by a busy worker
TAKE_OVER_EVERY_S: Final = 0.5
RENEW_EVERY_S: Final = 1.0
CLEANUP_INTERVAL_S: Final = 3600.0
RETRY_S: Final = 0.5  # pause before a retry while Redis is unreachable

UNREACHABLE: Final = (*BROKEN, UnavailableError, StorageError)

log = structlog.get_logger(part="leases")


class Claim(Protocol):
    """The common properties of all claims."""

    @property
    def name(self) -> str:
        """The claimed work, a session's or job's id. Unique among a worker's claims of one kind."""
        ...

    @property
    def partition(self) -> int:
        """The partition of its queue."""
        ...

    @property
    def entry(self) -> str:
        """The id of its entry in the queue."""
        ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """The result of renewing a lease. `lost`: another worker owns the work."""

    lost: bool


C = TypeVar("C", bound=Claim)
R = TypeVar("R", bound=Renewal)


class Claims(ABC, Generic[C, R]):
    """One worker's access to one kind of work, used by a pool."""

    def __init__(self, queue: WorkQueue) -> None:
        self.queue = queue

    async def take_new(self, *, block_ms: int | None = None) -> list[C]:
        """Claim new work, at most one item of each partition. See `WorkQueue.take_new`."""
        return await self._claim_all(await self.queue.take_new(block_ms=block_ms))

    async def take_over(self, limit: int, held: Sequence[C] = ()) -> list[C]:
        """Claim up to `limit` items whose lease has expired. See `WorkQueue.take_over`."""
        entries = {(claim.partition, claim.entry) for claim in held}
        return await self._claim_all(await self.queue.take_over(limit, entries))

    async def _claim_all(self, delivered: Sequence[Delivered]) -> list[C]:
        claims = []
        for each in delivered:
            try:
                claim = await self._claim(each)
            except (*UNREACHABLE, ResponseError) as error:
                # the entry stays pending and is taken over after its lease
                log.warning("claim.abandoned", entry=each.entry, error=str(error))
                continue
            if claim is not None:
                claims.append(claim)
        return claims

    @abstractmethod
    async def _claim(self, delivered: Delivered) -> C | None:
        """Claim work that was delivered; None if there is nothing to claim."""

    @abstractmethod
    async def renew(self, claims: Sequence[C]) -> list[R]:
        """Renew the leases of `claims`. Raises `UnavailableError`."""

    @abstractmethod
    async def hand_back(self, claim: C) -> None:
        """Queue the work again, so that any worker can claim it at once. Raises `UnavailableError`."""

    @abstractmethod
    async def failed(self, claim: C, error: Exception) -> None:
        """Count a failure of the work; end it after the maximum. Raises `UnavailableError`."""


class Work(Protocol):
    """The processing of a claim."""

    async def run(self) -> None:
        """Process the claim to its end. Raises `FencedError` if another worker owns it."""
        ...


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """The metrics of a pool: claims held, claims by kind (new, takeover), claims lost to other workers."""

    held: Gauge
    claims: Counter
    fenced: Counter


class LeasePool(Generic[C, R, W]):
    """The claims of one process on one kind of work.

    Parameters
    ----------
    noun
        The kind of work in the log: session, job …
    begin
        Creates the work of a claim.
    room
        Number of claims held → number of further claims that the worker accepts.
    renewed
        Called after each successful renewal of a lease.
    admit
        Called with the number of claims held before each poll for new work; returns whether it has admitted
        new work to the queue. With it, the pool polls the queue every `poll_every_s` seconds instead of
        blocking.
    spread
        Load balancing: a worker with `spread` or more claims waits `PAUSE_S` after a claim before it takes
        the next one, with fewer claims proportionally less, so that less busy workers claim first. 0: never
        waits.

    """

    def __init__(
        self,
        claims: Claims[C, R],
        *,
        noun: str,
        begin: Callable[[C], W],
        room: Callable[[int], int],
        metrics: PoolMetrics,
        renewed: Callable[[W, R], Awaitable[None]] | None = None,
        admit: Callable[[int], Awaitable[bool]] | None = None,
        poll_every_s: float = PAUSE_S,
        renew_every_s: float = RENEW_EVERY_S,
        take_over_every_s: float = TAKE_OVER_EVERY_S,
        spread: int = 0,
    ) -> None:
        self._claims = claims
        self._noun = noun
        self._begin = begin
        self._free = room
        self._metrics = metrics
        self._renewed = renewed
        self._admit = admit
        self._poll_every_s = poll_every_s
        self._renew_every_s = renew_every_s
        self._take_over_every_s = take_over_every_s
        self._spread = spread
        self._held: dict[str, tuple[C, W]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._replaced: set[asyncio.Task[None]] = set()  # cancelled, but not ended yet
        self.changed = asyncio.Event()
        """Set whenever work begins."""

    @property
    def work(self) -> list[W]:
        """The work of all held claims."""
        return [work for _, work in self._held.values()]

    @property
    def count(self) -> int:
        """The number of claims held."""
        return len(self._held)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """The loops that claim work and renew its leases; cancel all of them together."""
        return [
            self._repeat("claim", self._take_new, 0),
            self._repeat("takeover", self._take_over, self._take_over_every_s),
            self._repeat("renew", self._renew, self._renew_every_s),
            self._repeat("cleanup", self._claims.queue.tidy, CLEANUP_INTERVAL_S),
        ]

    async def _repeat(self, what: str, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Call `step` repeatedly. Its exceptions are logged and end neither the loop nor the worker."""
        while True:
            try:
                await step()
            except ResponseError as error:
                if group_is_missing(error):
                    await self._make_groups()
                else:
                    log.error("leases.refused", doing=what, error=str(error))
                    await asyncio.sleep(RETRY_S)
            except UNREACHABLE as error:
                log.warning("redis.unreachable", doing=what, error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("leases.failed", doing=what)
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(every_s * random.uniform(0.8, 1.2))

    async def _make_groups(self) -> None:
        log.info("queue.groups_created", why="they were missing: Redis is new, or has lost its data")
        try:
            await self._claims.queue.ensure_groups()
        except (*UNREACHABLE, ResponseError) as error:
            log.warning("redis.unreachable", error=str(error))
            await asyncio.sleep(RETRY_S)

    def _log(self, level: str, event: str, name: str, **more: Any) -> None:
        """Log `<noun>.<event>`."""
        getattr(log, level)(f"{self._noun}.{event}", **{self._noun: name}, **more)

    # --- claiming -----------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        return self._free(self.count)

    async def _take_new(self) -> None:
        if self._room <= 0:
            await asyncio.sleep(PAUSE_S)
            return
        admitted = self._admit is not None and await self._admit(self.count)
        claims = await self._claims.take_new(block_ms=BLOCK_MS if self._admit is None else None)
        for claim in claims:
            await self._accept(claim, "new")
        if self._admit is not None and not claims and not admitted:
            await asyncio.sleep(self._poll_every_s * random.uniform(0.8, 1.2))
        elif self._spread:
            await asyncio.sleep(PAUSE_S * min(1.0, self.count / self._spread))

    async def _take_over(self) -> None:
        held = [claim for claim, _ in self._held.values()]
        for claim in await self._claims.take_over(self._room, held):
            await self._accept(claim, "takeover")

    async def _accept(self, claim: C, kind: str) -> None:
        if self._room <= 0 and claim.name not in self._held:  # several partitions had work at once
            await self._claims.hand_back(claim)
            return
        try:
            work = self._begin(claim)
        except Exception as error:
            self._log("exception", "not_begun", claim.name)
            await self._note_failure(claim, error)
            return
        self._forget(claim.name, cancel=True)
        self._held[claim.name] = (claim, work)
        self._tasks[claim.name] = asyncio.create_task(self._run(claim, work))
        self._metrics.claims.labels(kind).inc()
        self._metrics.held.set(self.count)
        self.changed.set()
        self._log("info", "claimed", claim.name, kind=kind)

    async def _run(self, claim: C, work: W) -> None:
        try:
            await work.run()
            self._log("info", "done", claim.name)
        except FencedError:
            self._metrics.fenced.inc()
            self._log("warning", "fenced", claim.name)
        except UNREACHABLE as error:  # another worker takes it over after the lease
            self._log("warning", "abandoned", claim.name, error=str(error))
        except Exception as error:
            self._log("exception", "failed", claim.name)
            await self._note_failure(claim, error)
        finally:
            if self._held.get(claim.name, (None,))[0] is claim:
                self._forget(claim.name)

    async def fail(self, work: W, error: Exception) -> None:
        """End `work` because of `error`, as if its task had raised it."""
        for claim, held in self._held.values():
            if held is work:
                self._log("error", "failed", claim.name, exc_info=error)
                self._forget(claim.name, cancel=True)
                await self._note_failure(claim, error)
                return

    async def _note_failure(self, claim: C, error: Exception) -> None:
        try:
            await self._claims.failed(claim, error)
        except (ParlandoError, *BROKEN, ResponseError) as away:
            self._log("warning", "abandoned", claim.name, error=str(away))

    def _forget(self, name: str, *, cancel: bool = False) -> None:
        self._held.pop(name, None)
        task = self._tasks.pop(name, None)
        if cancel and task is not None:
            task.cancel()
            self._replaced.add(task)
            task.add_done_callback(self._replaced.discard)
        self._metrics.held.set(self.count)

    # --- leases -------------------------------------------------------------------------------

    async def _renew(self) -> None:
        held = list(self._held.values())
        if not held:
            return
        renewals = await self._claims.renew([claim for claim, _ in held])
        for (claim, work), renewal in zip(held, renewals, strict=True):
            if self._held.get(claim.name, (None,))[0] is not claim:
                continue
            if renewal.lost:
                self._metrics.fenced.inc()
                self._log("warning", "lost", claim.name)
                self._forget(claim.name, cancel=True)
            elif self._renewed is not None:
                await self._report_renewal(work, claim, renewal)

    async def _report_renewal(self, work: W, claim: C, renewal: R) -> None:
        assert self._renewed is not None
        try:
            await self._renewed(work, renewal)
        except (ParlandoError, *BROKEN) as error:
            self._log("warning", "renewal_not_processed", claim.name, error=str(error))

    # --- leaving ------------------------------------------------------------------------------

    async def hand_back(self) -> None:
        """Stop all work and queue it again. Results so far are in Redis; other workers continue from there.

        Raises
        ------
        UnavailableError

        """
        for name, (claim, _) in list(self._held.items()):
            if task := self._tasks.get(name):
                await end(task)
            await self._claims.hand_back(claim)
            self._log("info", "handed_back", name)
        await end(*self._replaced)
