"""Chunks of jobs: claimed while no live window waits, and decoded; the results go to Redis."""

from typing import Final

import numpy as np

from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, samples, to_float
from parlando.errors import EngineError
from parlando.store.chunk_claims import ChunkClaim, ChunkClaims
from parlando.store.leases import LeasePool, PoolMetrics, Renewal
from transcriber import metrics
from transcriber.chunks.segments import segments
from transcriber.engines.base import Hypothesis, Window
from transcriber.recognition.scheduler import Lane, Scheduler

WAITING: Final = 1  # chunks claimed in advance, so that the engine doesn't wait for Redis


class ChunkWork:
    """A claimed chunk. If `run` raises, the pool counts a failed attempt, and another worker may retry."""

    def __init__(self, claim: ChunkClaim, claims: ChunkClaims, scheduler: Scheduler) -> None:
        self._claim = claim
        self._claims = claims
        self._scheduler = scheduler

    async def run(self) -> None:
        """Decode the chunk and store its segments.

        Raises
        ------
        EngineError, UnavailableError

        """
        claim, info = self._claim, self._scheduler.engine.info
        try:
            if claim.options.task not in info.tasks:
                raise EngineError(f"the engine {info.name} can't {claim.options.task}")
            hypothesis = await self._scheduler.submit(Lane.CHUNK, lambda: _window(claim)).answer
        except EngineError:
            metrics.ENGINE_ERRORS.inc()
            metrics.CHUNKS.labels("failed").inc()
            raise
        hypothesis = hypothesis or Hypothesis(())
        found = segments(claim.work, hypothesis, words=claim.options.words)
        language = claim.options.language or claim.language or hypothesis.language
        await self._claims.done(claim, found, language)
        metrics.CHUNKS.labels("done").inc()
        self._scheduler.note_settled(len(claim.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE, live=False)


def chunk_pool(claims: ChunkClaims, scheduler: Scheduler) -> LeasePool[ChunkClaim, Renewal, ChunkWork]:
    """The pool of one process: one chunk more than the engine decodes at once; 0 while live windows wait."""
    info = scheduler.engine.info
    limit = info.batch * info.parallel + WAITING
    return LeasePool(
        claims,
        noun="chunk",
        begin=lambda claim: ChunkWork(claim, claims, scheduler),
        room=lambda held: 0 if scheduler.waiting else limit - held,
        metrics=PoolMetrics(metrics.CHUNKS_HELD, metrics.CHUNK_CLAIMS, metrics.CHUNKS_FENCED),
    )


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
