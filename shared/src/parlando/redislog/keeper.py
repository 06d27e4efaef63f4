"""Owning sessions: claims them, reads their streams, keeps their leases, hands them back.

What every kind of worker does around its sessions. What it does *with* one is the session's own business:
`feed` it what was read, and let it `run`.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import ResponseError

from parlando.errors import FencedError, ParlandoError, UnavailableError
from parlando.redislog.claims import Claims, Held, Lease
from parlando.redislog.connection import BROKEN, connect
from parlando.redislog.keys import SessionKeys
from parlando.redislog.pcm import Entry, StreamReader
from parlando.tasks import end

READ_BLOCK_MS: Final = 100  # how long a read waits; a new session joins the next one
TICK_S: Final = 0.005  # shortest time between two reads, for one session …
TICK_PER_SESSION_S: Final = 0.001  # … and what each more adds …
TICK_MOST_S: Final = 0.03  # … up to this
MOST_FAILURES: Final = 3  # of workers on one session, before it is given up
CLAIM_BLOCK_MS: Final = 500
CLAIM_PAUSE_S: Final = 0.05  # at most; a worker with no session doesn't wait, one with …
SPREAD: Final = 12  # … so many waits for all of it
TAKE_OVER_EVERY_S: Final = 0.5
REFRESH_EVERY_S: Final = 1.0

log = structlog.get_logger(part="keeper")


class Owned(Protocol):
    """A session in the hands of its owner."""

    @property
    def claim(self) -> Any:
        """The claim it came with."""
        ...

    @property
    def sid(self) -> str:
        """The session's id."""
        ...

    @property
    def position(self) -> str:
        """The id of the entry read last."""
        ...

    @property
    def wants_input(self) -> bool:
        """Whether reading on makes sense; else its stream waits in Redis."""
        ...

    def feed(self, entries: Iterable[Entry]) -> None:
        """Take what was read, in order."""
        ...

    async def run(self) -> None:
        """Do the session's work until there is none; raises `FencedError` when it's lost."""
        ...


@dataclass(frozen=True, slots=True)
class KeeperMetrics:
    """Where a keeper counts: sessions it owns, claims by kind, sessions lost to others."""

    sessions: Gauge
    claims: Counter
    fenced: Counter


C = TypeVar("C", bound=Held)
S = TypeVar("S", bound=Owned)


class Keeper(Generic[C, S]):
    """One process's sessions in one role.

    `stream`: which of a session's streams is read, in units of `unit` bytes. `begin` makes a session of a
    claim; `give_up` ends one on which several workers have failed; `watch` hears every lease that was kept.
    """

    def __init__(
        self,
        claims: Claims[C],
        *,
        redis_url: str,
        partitions: int,
        capacity: int,
        stream: Callable[[SessionKeys], str],
        unit: int,
        begin: Callable[[C], S],
        give_up: Callable[[S], Awaitable[None]],
        watch: Callable[[S, Lease], Awaitable[None]] | None = None,
        metrics: KeeperMetrics,
    ) -> None:
        self.sessions: dict[str, S] = {}
        self.capacity = capacity
        self._claims = claims
        self._redis_url = redis_url
        self._partitions = partitions
        self._stream = stream
        self._unit = unit
        self._begin = begin
        self._give_up = give_up
        self._watch = watch
        self._metrics = metrics
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What must run for sessions to be owned; cancelled all at once."""
        loops = [self._refresh_loop(), self._take_over_loop()]
        for partition in range(self._partitions):
            loops += [self._claim_loop(partition), self._read_loop(partition)]
        return loops

    # --- claiming -----------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        return self.capacity - len(self.sessions)

    async def _claim_loop(self, partition: int) -> None:
        """Take new sessions one at a time, so that they spread over the workers that have room."""
        while True:
            if self._room > 0:
                await self._guarded(self._claims.take_new(partition, 1, block_ms=CLAIM_BLOCK_MS), "new")
            # The busier a worker, the later it asks again: the next session goes to an idler one.
            await asyncio.sleep(CLAIM_PAUSE_S * min(1.0, len(self.sessions) / SPREAD))

    async def _take_over_loop(self) -> None:
        await self._guarded(self._tidy(), "tidy")
        while True:
            for partition in range(self._partitions):
                if self._room > 0:
                    await self._guarded(self._claims.take_over(partition, self._room), "takeover")
            await asyncio.sleep(TAKE_OVER_EVERY_S * random.uniform(0.8, 1.2))

    async def _tidy(self) -> list[C]:
        await self._claims.tidy()
        return []

    async def _guarded(self, claiming: Awaitable[list[C]], kind: str) -> None:
        """Run a claim; make the groups if Redis doesn't have them, wait if it's away."""
        try:
            claims = await claiming
        except ResponseError as error:
            if "NOGROUP" not in str(error) and "no such key" not in str(error):
                raise
            await self._make_groups()
            return
        except (*BROKEN, UnavailableError) as error:
            log.warning("redis.away", error=str(error))
            await asyncio.sleep(0.5)
            return
        for claim in claims:
            self._start(claim, kind)

    async def _make_groups(self) -> None:
        log.info("redis.groups_made", effect="if there were any before, Redis has lost its data")
        try:
            await self._claims.ensure_groups()
        except UnavailableError as error:
            log.warning("redis.away", error=str(error))

    def _start(self, claim: C, kind: str) -> None:
        sid = claim.keys.sid
        older = self._tasks.pop(sid, None)
        if older is not None:
            older.cancel()
        session = self._begin(claim)
        self.sessions[sid] = session
        self._tasks[sid] = asyncio.create_task(self._live(session))
        self._metrics.claims.labels(kind).inc()
        self._metrics.sessions.set(len(self.sessions))
        log.info("session.claimed", session=sid, epoch=claim.epoch, kind=kind)

    async def _live(self, session: S) -> None:
        try:
            await session.run()
            log.info("session.done", session=session.sid)
        except FencedError:
            self._metrics.fenced.inc()
            log.warning("session.fenced", session=session.sid)
        except ParlandoError as error:
            log.warning("session.dropped", session=session.sid, error=str(error))
        except Exception:  # a fault of ours on this session's audio must not take the others along
            log.exception("session.failed", session=session.sid)
            await self._give_up_or_leave(session)
        finally:
            if self.sessions.get(session.sid) is session:
                self._drop(session.sid)

    async def _give_up_or_leave(self, session: S) -> None:
        """Leave a failed session to the next worker; give it up when several have failed on it."""
        try:
            if await self._claims.failed(session.claim) >= MOST_FAILURES:
                await self._give_up(session)
                log.error("session.given_up", session=session.sid)
        except ParlandoError as error:
            log.warning("session.dropped", session=session.sid, error=str(error))

    def _drop(self, sid: str) -> None:
        self.sessions.pop(sid, None)
        self._tasks.pop(sid, None)
        self._metrics.sessions.set(len(self.sessions))

    # --- reading ------------------------------------------------------------------------------

    async def _read_loop(self, partition: int) -> None:
        """Read the streams of all sessions of a partition with one call, at most once per tick."""
        redis = connect(self._redis_url, connections=2)
        reader = StreamReader(redis, unit=self._unit)
        try:
            while True:
                started = time.monotonic()
                mine = {
                    self._stream(session.claim.keys): session
                    for session in self.sessions.values()
                    if session.claim.keys.partition == partition and session.wants_input
                }
                if not mine:
                    await asyncio.sleep(TICK_S * 4)
                    continue
                positions = {key: session.position for key, session in mine.items()}
                try:
                    found = await reader.read(positions, block_ms=READ_BLOCK_MS)
                except BROKEN as error:
                    log.warning("redis.away", error=str(error))
                    await asyncio.sleep(0.2)
                    continue
                for key, entries in found.items():
                    mine[key].feed(entries)
                    await asyncio.sleep(0)
                tick = min(TICK_S + TICK_PER_SESSION_S * len(mine), TICK_MOST_S)
                await asyncio.sleep(max(0.0, started + tick - time.monotonic()))
        finally:
            await redis.aclose()

    # --- leases -------------------------------------------------------------------------------

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            try:
                await self._refresh()
            except (ParlandoError, *BROKEN, ResponseError) as error:
                log.warning("lease.refresh_failed", error=str(error))

    async def _refresh(self) -> None:
        sessions = list(self.sessions.values())
        leases = await self._claims.refresh([session.claim for session in sessions]) if sessions else []
        for session, lease in zip(sessions, leases, strict=True):
            if self.sessions.get(session.sid) is not session:
                continue
            if lease.lost:
                self._metrics.fenced.inc()
                log.warning("session.lost", session=session.sid)
                self._tasks[session.sid].cancel()
                self._drop(session.sid)
            elif self._watch is not None:
                await self._watch(session, lease)

    # --- leaving ------------------------------------------------------------------------------

    async def hand_back(self) -> None:
        """Give every session back: what was done is in Redis, the rest another worker does.

        Raises
        ------
        UnavailableError

        """
        for sid, session in list(self.sessions.items()):
            if task := self._tasks.get(sid):
                await end(task)
            await self._claims.release(session.claim)
            log.info("session.released", session=sid)
