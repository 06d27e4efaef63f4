"""Chunks of jobs: taken when nothing live waits, heard, given in; those that fail go to another worker."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import numpy as np
import structlog
from redis.exceptions import ResponseError

from parlando.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, samples, to_float
from parlando.errors import EngineError, ParlandoError, UnavailableError
from parlando.redislog.chunks import ChunkClaim, ChunkClaims
from parlando.redislog.connection import BROKEN
from transcriber import metrics
from transcriber.chunk_segments import segments
from transcriber.engines.base import Hypothesis, Window
from transcriber.scheduler import Lane, Scheduler

BLOCK_MS: Final = 500
BUSY_S: Final = 0.02  # until the queue of live windows is looked at again
TAKE_OVER_EVERY_S: Final = 0.5
REFRESH_EVERY_S: Final = 1.0

log = structlog.get_logger(part="chunks")


class ChunkWorker:
    """The chunks in one process's hands: one more than the engine hears at once, so that it never waits."""

    def __init__(self, claims: ChunkClaims, scheduler: Scheduler, *, partitions: int) -> None:
        self._claims = claims
        self._scheduler = scheduler
        self._partitions = partitions
        self._room = scheduler.engine.info.batch + 1
        self._held: dict[str, tuple[ChunkClaim, asyncio.Task[None]]] = {}

    @property
    def count(self) -> int:
        """Chunks in its hands."""
        return len(self._held)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What must run for chunks to be heard; cancelled all at once."""
        return [
            self._refresh_loop(),
            self._take_over_loop(),
            *(self._claim_loop(partition) for partition in range(self._partitions)),
        ]

    @property
    def _idle(self) -> bool:
        return self.count < self._room and not self._scheduler.waiting

    async def _claim_loop(self, partition: int) -> None:
        while True:
            if self._idle:
                await self._guarded(self._claims.take_new(partition, 1, block_ms=BLOCK_MS))
            else:
                await asyncio.sleep(BUSY_S)

    async def _take_over_loop(self) -> None:
        while True:
            await asyncio.sleep(TAKE_OVER_EVERY_S)
            for partition in range(self._partitions):
                if self._idle:
                    await self._guarded(self._claims.take_over(partition, 1))

    async def _guarded(self, claiming: Coroutine[Any, Any, list[ChunkClaim]]) -> None:
        try:
            claims = await claiming
        except ResponseError as error:
            if "NOGROUP" not in str(error) and "no such key" not in str(error):
                log.warning("chunks.refused", error=str(error))
                await asyncio.sleep(0.5)
                return
            try:
                await self._claims.ensure_groups()
            except UnavailableError as away:
                log.warning("redis.away", error=str(away))
        except (*BROKEN, UnavailableError) as error:
            log.warning("redis.away", error=str(error))
            await asyncio.sleep(0.5)
        else:
            for claim in claims:
                self._held[claim.entry] = (claim, asyncio.create_task(self._do(claim)))

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            try:
                if self._held:
                    await self._claims.refresh([claim for claim, _ in self._held.values()])
            except (ParlandoError, *BROKEN, ResponseError) as error:
                log.warning("lease.refresh_failed", error=str(error))

    async def _do(self, claim: ChunkClaim) -> None:
        try:
            await self._hear(claim)
        except (ParlandoError, *BROKEN, ResponseError) as error:
            log.warning("chunk.left", job=claim.keys.job, chunk=claim.index, error=str(error))
        except Exception:  # a fault of ours on this chunk must not take the others along
            log.exception("chunk.broke", job=claim.keys.job, chunk=claim.index)
            await self._give_back(claim, "the transcriber failed on it")
        finally:
            del self._held[claim.entry]

    async def _hear(self, claim: ChunkClaim) -> None:
        info = self._scheduler.engine.info
        if claim.options.task not in info.tasks:
            await self._give_back(claim, f"the engine {info.name} can't {claim.options.task}")
            return
        try:
            hypothesis = await self._scheduler.submit(Lane.CHUNK, lambda: _window(claim)).answer
        except EngineError as error:
            metrics.ENGINE_ERRORS.inc()
            log.error("engine.failed", job=claim.keys.job, chunk=claim.index, error=str(error))
            await self._give_back(claim, error.message)
            return
        heard = hypothesis or Hypothesis(())
        found = segments(claim.work, heard, words=claim.options.words)
        language = claim.options.language or claim.language or heard.language
        await self._claims.done(claim, found, language)
        metrics.CHUNKS.labels("done").inc()
        self._scheduler.note_heard(len(claim.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE, live=False)

    async def _give_back(self, claim: ChunkClaim, why: str) -> None:
        metrics.CHUNKS.labels("failed").inc()
        try:
            await self._claims.give_back(claim, why)
        except ParlandoError as error:
            log.warning("chunk.left", job=claim.keys.job, chunk=claim.index, error=error.message)

    async def hand_back(self) -> None:
        """Give back what isn't done, for other workers to take at once. Raises `UnavailableError`."""
        for claim, task in list(self._held.values()):
            task.cancel()
            await asyncio.wait([task])
            await self._claims.give_back(claim)


def _window(claim: ChunkClaim) -> Window:
    return Window(
        to_float(np.frombuffer(claim.pcm, "<i2")),
        language=claim.options.language or claim.language,
        prompt=claim.options.prompt,
        task=claim.options.task,
        words=True,
        final=True,
        voiced_s=sum(end - start for start, end in claim.work.speech) / samples(1000),
    )
