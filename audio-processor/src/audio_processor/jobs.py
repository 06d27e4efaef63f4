"""The jobs of one process: lets them in, owns a few while they're cut up, hands them back when it leaves."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from audio_processor import metrics
from audio_processor.preparation import Means, Preparation
from parlando.blobs import Blobs
from parlando.errors import FencedError, JobEndedError, ParlandoError, StorageError, UnavailableError
from parlando.redislog.connection import BROKEN
from parlando.redislog.preparing import JobClaim, JobClaims, OwnedJob
from parlando.tasks import end

LOOK_EVERY_S: Final = 0.1
TAKE_OVER_EVERY_S: Final = 0.5
REFRESH_EVERY_S: Final = 0.4
EXTRA: Final = 4  # times the usual number of jobs, for keys that have none running
OVER: Final = ("gone", "failed", "cancelled")  # states of a job that somebody else has ended
SWEEP_EVERY_S: Final = 3600.0
FORGOTTEN_S: Final = 8 * 24 * 3600.0  # a blob that old belongs to no job any more

log = structlog.get_logger(part="jobs")


class JobWorker:
    """Up to `room` jobs at once, and some more for keys that have none running."""

    def __init__(self, claims: JobClaims, means: Means, *, room: int) -> None:
        self._claims = claims
        self._means = means
        self._room = room
        self._running: dict[str, tuple[JobClaim, asyncio.Task[None]]] = {}

    @property
    def count(self) -> int:
        """Jobs in its hands."""
        return len(self._running)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What must run for jobs to be done; cancelled all at once."""
        return [
            self._guarded("claim", LOOK_EVERY_S, self._claim_loop),
            self._guarded("takeover", TAKE_OVER_EVERY_S, self._take_over_loop),
            self._guarded("refresh", REFRESH_EVERY_S, self._refresh),
            self._guarded("sweep", SWEEP_EVERY_S, lambda: sweep(self._means.blobs)),
        ]

    async def _guarded(self, what: str, every_s: float, once: Callable[[], Awaitable[None]]) -> None:
        """Do `once` again and again; Redis may be away, empty or full."""
        while True:
            try:
                await once()
            except ResponseError as error:
                if "NOGROUP" not in str(error) and "no such key" not in str(error):
                    log.warning("jobs.refused", doing=what, error=str(error))
                else:
                    await self._make_groups()
            except (*BROKEN, UnavailableError, StorageError) as error:
                log.warning("jobs.away", doing=what, error=str(error))
                await asyncio.sleep(0.5)
            await asyncio.sleep(every_s * random.uniform(0.8, 1.2))

    async def _make_groups(self) -> None:
        try:
            await self._claims.ensure_groups()
        except UnavailableError as error:
            log.warning("redis.away", error=str(error))

    async def _claim_loop(self) -> None:
        while self.count < self._room * EXTRA:
            admitted = await self._claims.admit(room=self.count < self._room)
            claims = await self._claims.take_new()
            for claim in claims:
                self._start(claim, "new")
            if not admitted and not claims:
                return

    async def _take_over_loop(self) -> None:
        if self.count < self._room * EXTRA:
            for claim in await self._claims.take_over():
                self._start(claim, "takeover")

    async def _refresh(self) -> None:
        for claim, task in list(self._running.values()):
            state = await self._claims.refresh(claim)
            if state == "lost" or state in OVER:
                task.cancel()

    def _start(self, claim: JobClaim, kind: str) -> None:
        older = self._running.pop(claim.keys.job, None)
        if older is not None:
            older[1].cancel()
        log.info("job.claimed", job=claim.keys.job, epoch=claim.epoch, kind=kind)
        metrics.JOBS.labels(kind).inc()
        self._running[claim.keys.job] = (claim, asyncio.create_task(self._do(claim)))

    async def _do(self, claim: JobClaim) -> None:
        preparation = Preparation(claim, OwnedJob(self._claims.scripts, claim), self._means)
        try:
            if not claim.record.status.ended:
                await self._prepare(claim, preparation)
            await preparation.tidy()
            await self._claims.leave(claim)
        except FencedError:
            log.warning("job.fenced", job=claim.keys.job)
        except (ParlandoError, *BROKEN) as error:
            log.warning("job.left", job=claim.keys.job, error=str(error))  # its lease ends; another takes it
        except Exception:  # a fault of ours on this file must not take the others along
            log.exception("job.broke", job=claim.keys.job)
        finally:
            if self._running.get(claim.keys.job, (None,))[0] is claim:
                del self._running[claim.keys.job]

    async def _prepare(self, claim: JobClaim, preparation: Preparation) -> None:
        """Cut the job up, unless it ends meanwhile: then only its audio is left to be deleted."""
        try:
            await preparation.run()
        except JobEndedError:
            pass
        except asyncio.CancelledError:
            if await self._claims.refresh(claim) not in OVER:
                raise

    async def hand_back(self) -> None:
        """Give every job back; another processor begins it anew, and skips the chunks that are queued.

        Raises
        ------
        UnavailableError

        """
        for claim, task in list(self._running.values()):
            await end(task)
            await self._claims.leave(claim, hand_back=True)
            log.info("job.released", job=claim.keys.job)


async def sweep(blobs: Blobs) -> None:
    """Delete blobs that somebody left behind: uploads cut off with their gateway, jobs that expired."""
    for name in await blobs.older_than(FORGOTTEN_S):
        log.info("blob.swept", blob=name)
        await blobs.delete(name)
