"""The jobs of one process: admitted, owned while they are split into chunks, released at a drain."""

import asyncio
from typing import Final

import structlog

from audio_processor import metrics
from audio_processor.splitting import JobSplitter, SplitDeps
from parlando.blobs import Blobs
from parlando.errors import JobEndedError, StorageError
from parlando.store.job_claims import JobClaim, JobClaims, JobLog, JobRenewal
from parlando.store.keys import LONG_TTL_S
from parlando.store.leases import LeasePool, PoolMetrics
from parlando.store.upload_keys import MAX_TTL_S
from parlando.tasks import end

POLL_INTERVAL_S: Final = 0.1  # interval of polls for waiting jobs, with up to …
POLL_PARTITIONS: Final = 16  # … this many partitions; longer in proportion with more
RENEW_EVERY_S: Final = 0.4  # interval of lease renewals, at which a cancelled job is detected
EXTRA: Final = 4  # factor of the usual number of jobs, for API keys that have no running job
SWEEP_EVERY_S: Final = 3600.0
INTERRUPTED_S: Final = 24 * 3600.0  # age from which an interrupted upload is deleted
FORGOTTEN_S: Final = MAX_TTL_S + LONG_TTL_S + 24 * 3600.0
"""Age from which a blob belongs to no existing job: it is kept as an upload, then until its job begins."""

log = structlog.get_logger(part="jobs")


class JobWork:
    """A claimed job: its audio is split into chunks, unless the job has ended, and then deleted."""

    def __init__(self, claim: JobClaim, claims: JobClaims, deps: SplitDeps) -> None:
        self.claim = claim
        self._claims = claims
        self._splitter = JobSplitter(claim, JobLog(claims.scripts, claim), deps)
        self._splitting: asyncio.Task[None] | None = None
        self._ended = claim.record.status.ended

    async def run(self) -> None:
        """Split the job, delete its audio and release it.

        Raises
        ------
        FencedError, UnavailableError, StorageError

        """
        if not self._ended:
            await self._split()
        await self._splitter.delete_audio()
        await self._claims.leave(self.claim)

    async def _split(self) -> None:
        self._splitting = asyncio.create_task(self._splitter.run())
        try:
            await asyncio.wait([self._splitting])
        finally:
            await end(self._splitting)
        try:
            self._splitting.result()
        except JobEndedError:
            pass
        except asyncio.CancelledError:
            if not self._ended:
                raise

    def stop(self) -> None:
        """Stop splitting, because the job has ended. `run` still deletes its audio. Idempotent."""
        if not self._ended:
            self._ended = True
            if self._splitting is not None:
                self._splitting.cancel()


def job_pool(
    claims: JobClaims, deps: SplitDeps, *, room: int, partitions: int
) -> LeasePool[JobClaim, JobRenewal, JobWork]:
    """A pool of up to `room` jobs, and more for API keys that have no running job."""

    async def admit(held: int) -> bool:
        return await claims.admit(room=held < room)

    async def renewed(work: JobWork, renewal: JobRenewal) -> None:
        if renewal.over:
            work.stop()

    return LeasePool(
        claims,
        noun="job",
        begin=lambda claim: JobWork(claim, claims, deps),
        room=lambda held: room * EXTRA - held,
        metrics=PoolMetrics(metrics.JOBS_HELD, metrics.JOBS, metrics.JOBS_FENCED),
        admit=admit,
        renewed=renewed,
        poll_every_s=POLL_INTERVAL_S * max(1.0, partitions / POLL_PARTITIONS),
        renew_every_s=RENEW_EVERY_S,
    )


async def sweep_loop(blobs: Blobs) -> None:
    """Delete blobs without a job: uploads interrupted with their gateway, audio of expired jobs."""
    while True:
        try:
            for name in await blobs.older_than(FORGOTTEN_S):
                log.info("blob.swept", blob=name)
                await blobs.delete(name)
            if count := await blobs.delete_interrupted(INTERRUPTED_S):
                log.info("uploads.swept", count=count)
        except StorageError as error:
            log.warning("blobs.unreachable", error=str(error))
        await asyncio.sleep(SWEEP_EVERY_S)
