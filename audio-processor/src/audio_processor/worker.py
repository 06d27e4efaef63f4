"""The worker: claims conversions, reads their bytes, keeps their leases, hands them back.

The owner of all the service's tasks.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from audio_processor import metrics
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.session import IntakeSession
from audio_processor.settings import ProcessorSettings
from parlando.audio import SAMPLE_RATE
from parlando.errors import FencedError, InvalidAudioError, ParlandoError, UnavailableError
from parlando.ids import new_worker_id
from parlando.redislog.connection import BROKEN, connect, retried
from parlando.redislog.heartbeat import beat, sign_off
from parlando.redislog.intake import IntakeClaim, IntakeClaims
from parlando.redislog.pcm import StreamReader
from parlando.tasks import end

READ_BLOCK_MS: Final = 100  # how long a read waits; a new session joins the next one
READ_COUNT: Final = 32  # entries of a session per read
TICK_S: Final = 0.005  # shortest time between two reads
CLAIM_BLOCK_MS: Final = 500
TAKE_OVER_EVERY_S: Final = 0.5
REFRESH_EVERY_S: Final = 1.0
BEAT_EVERY_S: Final = 1.0
MOST_FAILURES: Final = 3  # of workers on one session, before it is ended

log = structlog.get_logger(part="worker")


class ProcessorWorker:
    """One process of the FFmpeg service: up to `processor_sessions` conversions."""

    def __init__(self, settings: ProcessorSettings, ffmpeg: Ffmpeg) -> None:
        self.id = new_worker_id("processor")
        self.connected = False
        """Whether Redis answered the last heartbeat."""
        self._settings = settings
        self._ffmpeg = ffmpeg
        self._redis = connect(settings.redis_url)
        self._claims = IntakeClaims(
            self._redis,
            worker=self.id,
            partitions=settings.partitions,
            ttl_s=settings.session_ttl_s,
            lease_s=settings.processor_lease_s,
        )
        self._sessions: dict[str, IntakeSession] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._draining = asyncio.Event()

    @property
    def sessions(self) -> int:
        """How many sessions it converts."""
        return len(self._sessions)

    def drain(self) -> None:
        """Stop claiming, hand everything back and let `run` return."""
        self._draining.set()

    async def run(self) -> None:
        """Work until `drain` is called."""
        loops = [self._refresh_loop(), self._beat_loop(), self._take_over_loop()]
        for partition in range(self._settings.partitions):
            loops += [self._claim_loop(partition), self._read_loop(partition)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop) for loop in loops]
            await self._draining.wait()
            await end(*tasks)
        await self._hand_back()
        await self._redis.aclose()

    # --- claiming -----------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        return self._settings.processor_sessions - len(self._sessions)

    async def _claim_loop(self, partition: int) -> None:
        while True:
            if self._room > 0:
                await self._guarded(self._claims.take_new(partition, 1, block_ms=CLAIM_BLOCK_MS), "new")
            # The busier a worker, the later it asks again: the next session goes to an idler one.
            await asyncio.sleep(0.05 * len(self._sessions) / self._settings.processor_sessions)

    async def _take_over_loop(self) -> None:
        while True:
            for partition in range(self._settings.partitions):
                if self._room > 0:
                    await self._guarded(self._claims.take_over(partition, self._room), "takeover")
            await asyncio.sleep(TAKE_OVER_EVERY_S)

    async def _guarded(self, claiming: Any, kind: str) -> None:
        """Run a claim; make the groups if Redis doesn't have them, wait if it's away."""
        try:
            claims: list[IntakeClaim] = await claiming
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            try:
                await self._claims.ensure_groups()
            except UnavailableError as away:
                log.warning("redis.away", error=str(away))
            return
        except (*BROKEN, UnavailableError) as error:
            log.warning("redis.away", error=str(error))
            await asyncio.sleep(0.5)
            return
        for claim in claims:
            self._start(claim, kind)

    def _start(self, claim: IntakeClaim, kind: str) -> None:
        sid = claim.keys.sid
        older = self._tasks.pop(sid, None)
        if older is not None:
            older.cancel()
        session = IntakeSession(
            claim,
            self._claims.own(claim),
            ffmpeg=self._ffmpeg,
            most_backlog=int(self._settings.processor_backlog_s * SAMPLE_RATE),
            keep=self._settings.container_keep_mb << 20,
            again=lambda: self._all_bytes(claim.keys.raw),
        )
        self._sessions[sid] = session
        self._tasks[sid] = asyncio.create_task(self._live(session))
        metrics.CLAIMS.labels("takeover" if claim.taken_over else kind).inc()
        metrics.SESSIONS.set(len(self._sessions))
        log.info("intake.claimed", session=sid, epoch=claim.epoch, kind=kind, format=claim.format.encoding)

    async def _all_bytes(self, key: str) -> AsyncIterator[bytes]:
        """Every byte of a raw stream, from its beginning."""
        after = "-"
        while True:
            start = after
            page: Any = await retried(lambda start=start: self._redis.xrange(key, min=start, count=8))  # type: ignore[misc]
            if not page:
                return
            for identifier, fields in page:
                after = f"({identifier.decode()}"
                if b"p" in fields:
                    yield fields[b"p"]

    async def _live(self, session: IntakeSession) -> None:
        try:
            await session.run()
            log.info("intake.done", session=session.sid)
        except FencedError:
            log.info("intake.fenced", session=session.sid)
        except ParlandoError as error:
            log.warning("intake.dropped", session=session.sid, error=str(error))
        except Exception:  # a fault of ours on this session's bytes must not take the others along
            log.exception("intake.failed", session=session.sid)
            await self._give_up_or_leave(session)
        finally:
            if self._sessions.get(session.sid) is session:
                self._sessions.pop(session.sid, None)
                self._tasks.pop(session.sid, None)
                metrics.SESSIONS.set(len(self._sessions))

    async def _give_up_or_leave(self, session: IntakeSession) -> None:
        """Leave a failed conversion to the next worker; end the session when several have failed on it."""
        try:
            if await self._claims.failed(session.claim) >= MOST_FAILURES:
                await session.give_up(
                    InvalidAudioError("The audio can't be converted: FFmpeg's service failed")
                )
                log.error("intake.given_up", session=session.sid)
        except ParlandoError as error:
            log.warning("intake.dropped", session=session.sid, error=str(error))

    # --- bytes --------------------------------------------------------------------------------

    async def _read_loop(self, partition: int) -> None:
        """Read the bytes of all sessions of a partition with one call, at most once per tick."""
        redis = connect(self._settings.redis_url, connections=2)
        reader = StreamReader(redis, unit=1)
        try:
            while True:
                started = time.monotonic()
                mine = {
                    session.claim.keys.raw: session
                    for session in self._sessions.values()
                    if session.claim.keys.partition == partition and session.wants_input
                }
                if not mine:
                    await asyncio.sleep(TICK_S * 4)
                    continue
                positions = {key: session.position for key, session in mine.items()}
                try:
                    found = await reader.read(positions, block_ms=READ_BLOCK_MS, count=READ_COUNT)
                except BROKEN as error:
                    log.warning("redis.away", error=str(error))
                    await asyncio.sleep(0.2)
                    continue
                for key, entries in found.items():
                    mine[key].feed(entries)
                await asyncio.sleep(max(0.0, started + TICK_S - time.monotonic()))
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
            if lease.lost and self._sessions.get(session.sid) is session:
                log.warning("intake.lost", session=session.sid)
                self._tasks[session.sid].cancel()

    async def _beat_loop(self) -> None:
        while True:
            try:
                await beat(
                    self._redis,
                    self.id,
                    {
                        "kind": "processor",
                        "sessions": len(self._sessions),
                        "capacity": self._settings.processor_sessions,
                    },
                )
                self.connected = True
            except (*BROKEN, UnavailableError) as error:
                self.connected = False
                log.warning("redis.away", error=str(error))
            await asyncio.sleep(BEAT_EVERY_S)

    # --- leaving ------------------------------------------------------------------------------

    async def _hand_back(self) -> None:
        """Give every conversion back: what came out is in Redis, the rest another worker makes."""
        try:
            for session in list(self._sessions.values()):
                if task := self._tasks.get(session.sid):
                    await end(task)
                await self._claims.release(session.claim)
                log.info("intake.released", session=session.sid)
            await sign_off(self._redis, self.id)
        except (ParlandoError, *BROKEN) as error:
            log.warning("drain.incomplete", error=str(error))
