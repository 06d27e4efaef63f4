"""The worker: converts claimed sessions, each with its own FFmpeg process, and splits claimed jobs.

It owns all tasks of the service.
"""

from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Final

import structlog

from audio_processor import metrics
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.job_worker import JobWork, job_pool, sweep_loop
from audio_processor.session import ConversionSession
from audio_processor.settings import ProcessorSettings
from audio_processor.splitting import SplitDeps
from parlando import vad
from parlando.background import background_thread
from parlando.blobs import Blobs
from parlando.domain.audio import SAMPLE_RATE
from parlando.outbound import Outbound
from parlando.store.connection import retried
from parlando.store.conversion_claims import ConversionClaim, ConversionClaims
from parlando.store.heartbeat import alive
from parlando.store.job_claims import JobClaim, JobClaims, JobRenewal
from parlando.store.leases import LeasePool, PoolMetrics
from parlando.store.session_claims import RENEW_EVERY_S, TAKE_OVER_EVERY_S, SessionRenewal
from parlando.store.session_reader import SessionReader
from parlando.store.unassigned import Unassigned
from parlando.worker.service import Pool, WorkerService

DRAIN_S: Final = 10.0
SPREAD: Final = 12  # conversions held at which a worker waits longest before it claims another

log = structlog.get_logger(part="worker")


class ProcessorWorker(WorkerService):
    """One process of the FFmpeg service: up to `processor_sessions` conversions, and jobs."""

    kind = "processor"

    def __init__(self, settings: ProcessorSettings, ffmpeg: Ffmpeg) -> None:
        super().__init__(settings, drain_s=DRAIN_S)
        self._settings = settings
        self._ffmpeg = ffmpeg
        self._claims = ConversionClaims(
            self.redis,
            worker=self.id,
            partitions=settings.partitions,
            ttl_s=settings.session_ttl_s,
            lease_s=settings.processor_lease_s,
            presence=self.presence,
        )
        self._conversions: LeasePool[ConversionClaim, SessionRenewal, ConversionSession] = LeasePool(
            self._claims,
            noun="conversion",
            begin=self._begin,
            room=lambda held: settings.processor_sessions - held,
            metrics=PoolMetrics(metrics.SESSIONS, metrics.CLAIMS, metrics.FENCED),
            renew_every_s=RENEW_EVERY_S,
            take_over_every_s=TAKE_OVER_EVERY_S,
            spread=SPREAD,
        )
        self._reader = SessionReader(
            self._conversions,
            redis_url=settings.redis_url,
            partitions=settings.partitions,
            stream=lambda keys: keys.raw,
            unit=1,
        )
        self._thread = background_thread("voice")
        self._outbound = (
            Outbound(allow_private=settings.allow_private_urls, setting="ALLOW_PRIVATE_URLS")
            if settings.allow_url_fetch
            else None
        )
        self._workers: list[dict[str, Any]] = []
        self._unassigned = Unassigned(self.redis, partitions=settings.partitions)
        self._job_claims = JobClaims(
            self.redis,
            worker=self.id,
            partitions=settings.partitions,
            lease_s=settings.processor_lease_s,
        )
        self._blobs = Blobs.of(settings)
        tools = SplitDeps(
            blobs=self._blobs,
            ffmpeg=ffmpeg,
            vad=vad.load(settings.vad),
            thread=self._thread,
            outbound=self._outbound,
            min_bytes_per_s=settings.url_min_kb_per_s * 1000,
            max_bytes=settings.max_upload_mb << 20,
            max_chunks=settings.max_chunks,
            max_samples=int(settings.max_job_hours * 3600 * SAMPLE_RATE),
            languages=self._languages,
        )
        self._jobs: LeasePool[JobClaim, JobRenewal, JobWork] = job_pool(
            self._job_claims, tools, room=settings.processor_jobs, partitions=settings.partitions
        )

    @property
    def jobs(self) -> int:
        """The number of jobs being split."""
        return self._jobs.count

    def _languages(self, pool: str) -> int:
        """The number of languages that a pool's engine supports; 0 for any or unknown."""
        known = [report["languages"] for report in self._workers if report.get("pool") == pool]
        return len(known[0]) if known else 0

    @property
    def sessions(self) -> int:
        """The number of sessions being converted."""
        return self._conversions.count

    def pools(self) -> Sequence[Pool]:
        """Conversions, and jobs that are split into chunks."""
        return [self._conversions, self._jobs]

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The reader of the sessions' bytes, and the removal of unused blobs."""
        return [self._reader.run(), sweep_loop(self._blobs)]

    async def close(self) -> None:
        """Close its HTTP client and its thread."""
        if self._outbound is not None:
            await self._outbound.aclose()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, claim: ConversionClaim) -> ConversionSession:
        return ConversionSession(
            claim,
            self._claims.own(claim),
            ffmpeg=self._ffmpeg,
            max_backlog=int(self._settings.processor_backlog_s * SAMPLE_RATE),
            keep=self._settings.container_keep_mb << 20,
            reread=lambda: self._all_bytes(claim.keys.raw),
        )

    async def _all_bytes(self, key: str) -> AsyncIterator[tuple[int, bytes]]:
        """All bytes that a raw stream still has, from its beginning, in pieces with their offsets."""
        after = "-"
        while True:
            start = after
            page: Any = await retried(lambda start=start: self.redis.xrange(key, min=start, count=8))  # type: ignore[misc]
            if not page:
                return
            for identifier, fields in page:
                after = f"({identifier.decode()}"
                if b"p" in fields:
                    yield int(identifier.partition(b"-")[0]) - len(fields[b"p"]), fields[b"p"]

    def report(self) -> dict[str, Any]:
        """See `WorkerService`."""
        return {"sessions": self.sessions, "capacity": self._settings.processor_sessions, "jobs": self.jobs}

    async def after_beat(self) -> None:
        """Read the heartbeats of all workers, and give jobs without a pool one that has a transcriber."""
        self._workers = await alive(self.redis)
        if assigned := await self._unassigned.assign_jobs(self._workers):
            log.info("jobs.assigned", jobs=assigned)
