"""The worker: decodes the sessions and chunks that it has claimed, with one engine.

It is the composition root of the service and owns all its tasks.
"""

import time
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.domain.pools import pool_name
from parlando.store import usage_keys
from parlando.store.chunk_claims import ChunkClaims
from parlando.store.known_speakers import KnownSpeakers
from parlando.store.leases import LeasePool, PoolMetrics
from parlando.store.session_claims import RENEW_EVERY_S, TAKE_OVER_EVERY_S, SessionRenewal
from parlando.store.session_log import RecognitionClaim, SessionClaims
from parlando.store.session_reader import SessionReader
from parlando.store.unassigned import Unassigned
from parlando.vad import VadModel
from parlando.worker.service import Pool, WorkerService
from transcriber import metrics
from transcriber.adoption import adoption_loop
from transcriber.chunks.worker import chunk_pool
from transcriber.engines.base import Engine
from transcriber.known_speakers import KnownSpeakersCache
from transcriber.pipeline.session import LiveSession
from transcriber.pipeline.stages import table as stages
from transcriber.recognition.cadence import Cadence
from transcriber.recognition.capacity import MAX_SESSIONS, Capacity, Spent
from transcriber.recognition.scheduler import Scheduler
from transcriber.settings import TranscriberSettings

SPREAD: Final = 12  # sessions held at which a worker waits longest before it claims another
IDLE_S: Final = 10.0  # seconds without audio after which a session doesn't count towards the capacity
PACE_BEATS: Final = 30  # heartbeats over which the real-time factor is measured

log = structlog.get_logger(part="worker")


class Worker(WorkerService):
    """One process that owns live sessions of its pool, as many as its engine can decode, and chunks."""

    kind = "transcriber"

    def __init__(self, settings: TranscriberSettings, engine: Engine, why: str, vad: VadModel) -> None:
        super().__init__(settings, drain_s=settings.drain_s)
        self._settings = settings
        self._why = why
        self._vad = vad
        self._stages = stages.load(settings)
        self._scheduler = Scheduler(engine, Cadence(settings.partial_interval))
        self._pool = pool_name(engine.info.name, engine.info.model)
        self._claims = SessionClaims(
            self.redis,
            pool=self._pool,
            worker=self.id,
            partitions=settings.partitions,
            ttl_s=settings.session_ttl_s,
            lease_s=settings.lease_s,
            presence=self.presence,
        )
        self._sessions: LeasePool[RecognitionClaim, SessionRenewal, LiveSession] = LeasePool(
            self._claims,
            noun="session",
            begin=self._begin,
            room=lambda held: (settings.worker_sessions or MAX_SESSIONS) - held,
            renewed=self._renewed,
            metrics=PoolMetrics(metrics.SESSIONS, metrics.CLAIMS, metrics.FENCED),
            renew_every_s=RENEW_EVERY_S,
            take_over_every_s=TAKE_OVER_EVERY_S,
            spread=SPREAD,
        )
        self._reader = SessionReader(
            self._sessions,
            redis_url=settings.redis_url,
            partitions=settings.partitions,
            stream=lambda keys: keys.pcm,
            unit=BYTES_PER_SAMPLE,
        )
        self._known = KnownSpeakersCache(KnownSpeakers(self.redis, partitions=settings.partitions))
        self._chunk_claims = ChunkClaims(
            self.redis,
            pool=self._pool,
            worker=self.id,
            partitions=settings.partitions,
            lease_s=settings.lease_s,
        )
        self._chunks = chunk_pool(self._chunk_claims, self._scheduler, self._known)
        self._capacity = Capacity(settings.worker_sessions or None)
        self._spent = Spent()  # the scheduler's at the previous heartbeat
        self._pace = deque([(0.0, 0.0)], maxlen=PACE_BEATS)  # (engine, audio) seconds at each heartbeat
        self._billed_ms = 0

    async def prepare(self) -> None:
        """Create the consumer groups of its queues."""
        await self._claims.queue.ensure_groups()
        await self._chunk_claims.queue.ensure_groups()

    def pools(self) -> Sequence[Pool]:
        """Sessions, and chunks of jobs."""
        return [self._sessions, self._chunks]

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """They read the sessions' audio, adopt sessions without a pool, and drop expired known voices."""
        unassigned = Unassigned(self.redis, partitions=self._settings.partitions)
        adoption = adoption_loop(unassigned, self._pool, self._settings.partitions)
        return [self._reader.run(), adoption, self._known.run()]

    def services(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The scheduler, which runs until the drain ends: running decodes may still be published."""
        return [self._scheduler.run()]

    async def close(self) -> None:
        """Stop the engine's threads."""
        self._scheduler.close()

    # --- sessions -----------------------------------------------------------------------------

    def _begin(self, claim: RecognitionClaim) -> LiveSession:
        fixed = self._settings.partial_cadence == "fixed"
        return LiveSession(
            claim,
            self._claims.own(claim),
            vad=self._vad.stream(),
            scheduler=self._scheduler,
            options=self._settings.segmenter,
            batch=self._settings.batch,
            stages=self._stages,
            known=self._known,
            fixed_interval=self._settings.partial_interval if fixed else None,
        )

    async def _renewed(self, session: LiveSession, renewal: SessionRenewal) -> None:
        """End a session whose client didn't reconnect in time; end the segment if no more audio comes."""
        session.observe(renewal, time.monotonic())
        if renewal.past_resume_window_s > 0:
            log.info("session.abandoned", session=session.sid)
            await self._claims.own(session.claim).end("disconnected")
        elif renewal.quiet and session.speaking:
            await self._claims.own(session.claim).settle(renewal.received)

    # --- heartbeats and bills -------------------------------------------------------------------

    async def after_beat(self) -> None:
        """Add the seconds billed since the previous heartbeat to the month's total in Redis."""
        billed_ms = round(self._scheduler.engine.billed_s * 1000)
        if billed_ms > self._billed_ms:
            more = billed_ms - self._billed_ms
            await self._claims.scripts.run(
                "count", [usage_keys.billed(usage_keys.month())], ["", more, usage_keys.USAGE_TTL_S]
            )
            metrics.BILLED.inc((billed_ms - self._billed_ms) / 1000)
            self._billed_ms = billed_ms

    def report(self) -> dict[str, Any]:
        """See `WorkerService`: engine, load, capacity and lag."""
        info = self._scheduler.engine.info
        sessions = self._sessions.work
        idle = sum(session.idle_s > IDLE_S for session in sessions)  # they take none of the engine's time
        lag = max((session.lag for session in sessions), default=0) / SAMPLE_RATE
        metrics.LAG.set(lag)
        self._observe_cost()
        before = self._pace[-1][0]
        self._pace.append((self._scheduler.busy_s, self._scheduler.settled_s))
        busy, audio = (now - then for now, then in zip(self._pace[-1], self._pace[0], strict=True))
        load = self._scheduler.busy_s - before
        return {
            "sessions": len(sessions),
            "capacity": self._capacity.sessions(len(sessions) - idle) + idle,
            "capacity_reason": self._capacity.reason,
            "pool": self._pool,
            "engine": info.name,
            "model": info.model,
            "metered": info.metered,
            "languages": sorted(info.languages),
            "tasks": sorted(info.tasks),
            "stages": [stage.name for stage in self._stages],
            "chunks": self._chunks.count,
            "why": self._why,
            "vad": self._vad.name,
            "vad_why": self._vad.why,
            "lag_ms": round(lag * 1000),
            "partial_interval_ms": round(1000 * self._scheduler.cadence.interval / SAMPLE_RATE),
            "queue_delay_ms": round(self._scheduler.cadence.delay_s * 1000),
            "engine_load": round(min(load, 1.0), 3),
            "real_time_factor": round(busy / audio, 4) if audio else None,
            "latencies": metrics.LATENCIES.report(),
        }

    def _observe_cost(self) -> None:
        scheduler = self._scheduler
        spent, self._spent = scheduler.spent.since(self._spent), scheduler.spent
        self._capacity.observe(
            spent,
            interval_s=scheduler.cadence.interval / SAMPLE_RATE,
            load=scheduler.cadence.load,
        )
