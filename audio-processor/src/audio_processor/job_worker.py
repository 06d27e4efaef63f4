"""The jobs of one process: let in, owned while they are cut up, handed back when the process leaves."""

import asyncio
from typing import Final

import structlog

from audio_processor import metrics
from audio_processor.splitting import JobSplitter, SplitDeps
from parlando.blobs import Blobs
from parlando.errors import JobEndedError, StorageError
from parlando.store.job_claims import JobClaim, JobClaims, JobLog, JobRenewal
from parlando.store.leases import LeasePool, PoolMetrics
from parlando.tasks import end

LOOK_EVERY_S: Final = 0.1  # for waiting jobs, with up to …
LOOK_PARTITIONS: Final = 16  # … so many partitions; with more, less often
RENEW_EVERY_S: Final = 0.4  # a cancelled job's preparation ends within this
EXTRA: Final = 4  # times the usual number of jobs, for keys that have none running
SWEEP_EVERY_S: Final = 3600.0
FORGOTTEN_S: Final = 8 * 24 * 3600.0  # a blob that old belongs to no job any more

log = structlog.get_logger(part="jobs")


class JobWork:
    """One claimed job: its audio is cut up, unless it has ended, and then deleted."""

    def __init__(self, claim: JobClaim, claims: JobClaims, deps: SplitDeps) -> None:
        self.claim = claim
        self._claims = claims
        self._preparation = JobSplitter(claim, JobLog(claims.scripts, claim), deps)
        self._preparing: asyncio.Task[None] | None = None
        self._over = claim.record.status.ended

    async def run(self) -> None:
        """Do it.

        Raises
        ------
        FencedError, UnavailableError, StorageError

        """
        if not self._over:
            await self._prepare()
        await self._preparation.delete_audio()
        await self._claims.leave(self.claim)

    async def _prepare(self) -> None:
        self._preparing = asyncio.create_task(self._preparation.run())
        try:
            await asyncio.wait([self._preparing])
        finally:
            await end(self._preparing)
        try:
            self._preparing.result()
        except JobEndedError:
            pass
        except asyncio.CancelledError:
            if not self._over:
                raise

    def stop(self) -> None:
        """Stop preparing: the job has ended. Its audio is still deleted. Repeating it changes nothing."""
        if not self._over:
            self._over = True
            if self._preparing is not None:
                self._preparing.cancel()


def job_pool(
    claims: JobClaims, deps: SplitDeps, *, room: int, partitions: int
) -> LeasePool[JobClaim, JobRenewal, JobWork]:
    """Up to `room` jobs at once, and some more for keys that have none running."""

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
        look_every_s=LOOK_EVERY_S * max(1.0, partitions / LOOK_PARTITIONS),
        renew_every_s=RENEW_EVERY_S,
    )


async def sweep_loop(blobs: Blobs) -> None:
    """Delete blobs that belong to no job: uploads cut off with their gateway, jobs that expired."""
    while True:
        try:
            for name in await blobs.older_than(FORGOTTEN_S):
                log.info("blob.swept", blob=name)
                await blobs.delete(name)
        except StorageError as error:
            log.warning("blobs.away", error=str(error))
        await asyncio.sleep(SWEEP_EVERY_S)
