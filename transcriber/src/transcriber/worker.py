"""The worker: claims sessions, reads their audio, keeps their leases, hands them back.

The composition root of the service, and the owner of all its tasks.
"""

import asyncio
import random
import time
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from parlando.audio import SAMPLE_RATE
from parlando.errors import FencedError, ParlandoError, UnavailableError
from parlando.ids import new_worker_id
from parlando.redislog import keys as names
from parlando.redislog.connection import BROKEN, connect
from parlando.redislog.heartbeat import beat, sign_off
from parlando.redislog.owner import Claim, SessionClaims
from parlando.redislog.pcm import StreamReader
from parlando.tasks import end
from parlando.vad import VadModel
from transcriber import metrics
from transcriber.cadence import Cadence
from transcriber.engines.base import Engine
from transcriber.scheduler import Scheduler
from transcriber.session import LiveSession
from transcriber.settings import TranscriberSettings

READ_BLOCK_MS: Final = 100  # how long a read waits; a new session joins the next one
TICK_S: Final = 0.005  # shortest time between two reads, for one session …
TICK_PER_SESSION_S: Final = 0.001  # … and what each more adds …
TICK_MOST_S: Final = 0.03  # … up to this
MOST_FAILURES: Final = 3  # of workers on one session, before it is closed
CLAIM_BLOCK_MS: Final = 500
CLAIM_PAUSE_S: Final = 0.05
TAKE_OVER_EVERY_S: Final = 0.5
REFRESH_EVERY_S: Final = 1.0

log = structlog.get_logger(part="worker")


class Worker:
    """One process that owns up to `worker_sessions` sessions."""

    def __init__(self, settings: TranscriberSettings, engine: Engine, why: str, vad: VadModel) -> None:
        self.id = new_worker_id("transcriber")
        self._settings = settings
        self._why = why
        self._vad = vad
        self._scheduler = Scheduler(engine, Cadence(settings.partial_interval))
        self._redis = connect(settings.redis_url)
        self._claims = SessionClaims(
            self._redis,
            worker=self.id,
            partitions=settings.partitions,
            ttl_s=settings.session_ttl_s,
            lease_s=settings.lease_s,
        )
        self._sessions: dict[str, LiveSession] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._draining = asyncio.Event()
        self._busy_before = 0.0
        self._billed_ms = 0

    def drain(self) -> None:
        """Stop claiming, hand the sessions back and let `run` return."""
        self._draining.set()

    async def run(self) -> None:
        """Work until `drain` is called."""
        await self._claims.ensure_groups()
        loops = [self._scheduler.run(), self._refresh_loop(), self._beat_loop(), self._take_over_loop()]
        for partition in range(self._settings.partitions):
            loops += [self._claim_loop(partition), self._read_loop(partition)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop) for loop in loops]
            log.info("worker.ready", worker=self.id, capacity=self._settings.worker_sessions)
            await self._draining.wait()
            log.info("worker.draining", sessions=len(self._sessions))
            await end(*tasks[1:])  # the scheduler goes on: what the engine is at may still be published
            await self._hand_back()
            await end(tasks[0])
        self._scheduler.close()
        await self._redis.aclose()

    # --- claiming -----------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        return self._settings.worker_sessions - len(self._sessions)

    async def _claim_loop(self, partition: int) -> None:
        """Take new sessions one at a time, so that they spread over the workers that have room."""
        while True:
            if self._room > 0:
                await self._guarded(self._claims.take_new(partition, 1, block_ms=CLAIM_BLOCK_MS), "new")
            # The busier a worker, the later it asks again: the next session goes to an idler one.
            await asyncio.sleep(CLAIM_PAUSE_S * len(self._sessions) / self._settings.worker_sessions)

    async def _take_over_loop(self) -> None:
        while True:
            for partition in range(self._settings.partitions):
                if self._room > 0:
                    await self._guarded(self._claims.take_over(partition, self._room), "takeover")
            await asyncio.sleep(TAKE_OVER_EVERY_S * random.uniform(0.8, 1.2))

    async def _guarded(self, claiming: Any, kind: str) -> int:
        """Run a claim; mend the groups if Redis has lost them, wait if it's away."""
        try:
            claims: list[Claim] = await claiming
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._mend_groups()
            return 0
        except (*BROKEN, UnavailableError) as error:
            log.warning("redis.away", error=str(error))
            await asyncio.sleep(0.5)
            return 0
        for claim in claims:
            self._start(claim, kind)
        return len(claims)

    async def _mend_groups(self) -> None:
        log.warning("redis.groups_lost", effect="they are made again; open sessions are lost")
        try:
            await self._claims.ensure_groups()
        except UnavailableError as error:
            log.warning("redis.away", error=str(error))

    def _start(self, claim: Claim, kind: str) -> None:
        sid = claim.keys.sid
        older = self._tasks.pop(sid, None)
        if older is not None:
            older.cancel()
        fixed = self._settings.partial_cadence == "fixed"
        session = LiveSession(
            claim,
            self._claims.own(claim),
            vad=self._vad.stream(),
            scheduler=self._scheduler,
            options=self._settings.segmenter,
            batch=self._settings.batch,
            fixed_interval=self._settings.partial_interval if fixed else None,
        )
        self._sessions[sid] = session
        self._tasks[sid] = asyncio.create_task(self._live(session))
        metrics.CLAIMS.labels("takeover" if claim.taken_over else kind).inc()
        metrics.SESSIONS.set(len(self._sessions))
        log.info("session.claimed", session=sid, epoch=claim.epoch, kind=kind)

    async def _live(self, session: LiveSession) -> None:
        try:
            await session.run()
            log.info("session.closed", session=session.sid)
        except FencedError:
            metrics.FENCED.inc()
            log.warning("session.fenced", session=session.sid)
        except ParlandoError as error:
            log.warning("session.dropped", session=session.sid, error=str(error))
        except Exception:  # a fault of ours on this session's audio must not take the others along
            log.exception("session.failed", session=session.sid)
            await self._give_up_or_leave(session)
        finally:
            if self._sessions.get(session.sid) is session:
                self._drop(session.sid)

    async def _give_up_or_leave(self, session: LiveSession) -> None:
        """Leave a failed session to the next worker; close it when several have failed on it."""
        pen = self._claims.own(session.claim)
        try:
            if await self._claims.failed(session.claim) >= MOST_FAILURES:
                await session.give_up(pen)
                log.error("session.given_up", session=session.sid)
        except ParlandoError as error:
            log.warning("session.dropped", session=session.sid, error=str(error))

    def _drop(self, sid: str) -> None:
        self._sessions.pop(sid, None)
        self._tasks.pop(sid, None)
        metrics.SESSIONS.set(len(self._sessions))

    # --- audio --------------------------------------------------------------------------------

    async def _read_loop(self, partition: int) -> None:
        """Read the audio of all sessions of a partition with one call, at most once per tick."""
        redis = connect(self._settings.redis_url, connections=2)
        reader = StreamReader(redis)
        try:
            while True:
                started = time.monotonic()
                mine = {
                    session.claim.keys.pcm: session
                    for session in self._sessions.values()
                    if session.claim.keys.partition == partition and session.wants_audio
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

    # --- leases and heartbeats ------------------------------------------------------------------

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            try:
                await self._refresh()
            except (ParlandoError, *BROKEN, ResponseError) as error:
                log.warning("lease.refresh_failed", error=str(error))

    async def _refresh(self) -> None:
        sessions = list(self._sessions.values())
        leases = await self._claims.refresh([session.claim for session in sessions]) if sessions else []
        for session, lease in zip(sessions, leases, strict=True):
            if self._sessions.get(session.sid) is not session:
                continue
            if lease.lost:
                metrics.FENCED.inc()
                log.warning("session.lost", session=session.sid)
                self._tasks[session.sid].cancel()
                self._drop(session.sid)
                continue
            session.told(lease, time.monotonic())
            if lease.overdue_s > 0:
                log.info("session.abandoned", session=session.sid)
                await self._claims.own(session.claim).end("disconnected")
            elif lease.quiet and session.speaking:
                await self._claims.own(session.claim).settle(lease.received)

    async def _beat_loop(self) -> None:
        while True:
            try:
                await beat(self._redis, self.id, self._report())
                await self._bill()
            except BROKEN as error:
                log.warning("redis.away", error=str(error))
            await asyncio.sleep(1.0)

    async def _bill(self) -> None:
        """Add what a paid engine has billed since the last time to the month's account."""
        billed_ms = round(self._scheduler.engine.info.billed_s * 1000)
        if billed_ms > self._billed_ms:
            await self._redis.incrby(names.billed(names.month()), billed_ms - self._billed_ms)
            metrics.BILLED.inc((billed_ms - self._billed_ms) / 1000)
            self._billed_ms = billed_ms

    def _report(self) -> dict[str, Any]:
        info = self._scheduler.engine.info
        lag = max((session.lag for session in self._sessions.values()), default=0) / SAMPLE_RATE
        metrics.LAG.set(lag)
        busy = self._scheduler.busy_s
        load, self._busy_before = busy - self._busy_before, busy
        return {
            "kind": "transcriber",
            "sessions": len(self._sessions),
            "capacity": self._settings.worker_sessions,
            "engine": info.name,
            "model": info.model,
            "languages": sorted(info.languages),
            "why": self._why,
            "vad": self._vad.name,
            "vad_why": self._vad.why,
            "lag_ms": round(lag * 1000),
            "queue_delay_ms": round(self._scheduler.cadence.delay_s * 1000),
            "engine_load": round(min(load, 1.0), 3),
        }

    # --- leaving ------------------------------------------------------------------------------

    async def _hand_back(self) -> None:
        """Give every session back; what was decoded is in Redis, the rest another worker decodes."""
        deadline = time.monotonic() + self._settings.drain_s
        try:
            async with asyncio.timeout(self._settings.drain_s):
                for sid, session in list(self._sessions.items()):
                    if task := self._tasks.get(sid):
                        await end(task)
                    await self._claims.release(session.claim)
                    log.info("session.released", session=sid)
                await self._bill()
                await sign_off(self._redis, self.id)
        except (TimeoutError, ParlandoError, *BROKEN) as error:
            left = deadline - time.monotonic()
            log.warning("drain.incomplete", error=str(error), seconds_left=round(left, 1))
