"""A job without Redis: the real planner, chunk work, scheduler and engine, with a recording store."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from audio_processor.chunking import LONG_CHUNKS, ChunkPlanner, Pauses, PlannedChunk
from parlando.domain.audio import Pcm16, to_float
from parlando.domain.job_options import JobOptions
from parlando.domain.transcript import FinalSegment
from parlando.store.chunk_claims import ChunkClaim, ChunkSpec
from parlando.store.keys import JobKeys
from parlando.vad import FRAME, VadModel
from transcriber.chunks.worker import ChunkWork
from transcriber.engines.base import Engine, Hypothesis, Window
from transcriber.recognition.cadence import Cadence
from transcriber.recognition.scheduler import Scheduler


class RecordingClaims:
    """A stand-in for `ChunkClaims` that keeps the segments of each chunk."""

    def __init__(self) -> None:
        self.found: list[FinalSegment] = []

    async def done(
        self,
        claim: ChunkClaim,
        segments: Sequence[FinalSegment],
        language: str | None,
        *,
        voices: bytes = b"",
    ) -> None:
        self.found += segments


class _Foreground(Engine):
    """An engine whose chunks are decoded at normal priority: no live session is to be spared here."""

    def __init__(self, engine: Engine) -> None:
        self.info = replace(engine.info, concurrent=False)
        self._engine = engine

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        return self._engine.transcribe(windows)


def planned(pcm: Pcm16, detector: VadModel, pauses: Pauses = LONG_CHUNKS) -> list[PlannedChunk]:
    """The chunks that the audio-processor makes of int16 samples at 16 kHz."""
    planner, whole = ChunkPlanner(pauses), len(pcm) // FRAME * FRAME
    chunks = planner.push(pcm[:whole], detector.stream().push(to_float(pcm[:whole]))) if whole else []
    return [*chunks, *planner.finish(pcm[whole:])]


def transcribed(
    engine: Engine, pcm: Pcm16, detector: VadModel, options: JobOptions, pauses: Pauses = LONG_CHUNKS
) -> list[FinalSegment]:
    """The segments of a job with these samples."""
    return asyncio.run(_transcribed(engine, planned(pcm, detector, pauses), options))


async def _transcribed(
    engine: Engine, chunks: Sequence[PlannedChunk], options: JobOptions
) -> list[FinalSegment]:
    scheduler, claims = Scheduler(_Foreground(engine), Cadence(8000)), RecordingClaims()
    serving = asyncio.create_task(scheduler.run())
    for index, chunk in enumerate(chunks):
        work = ChunkSpec(start=chunk.start, speech=chunk.speech, covered_samples=len(chunk.pcm))
        claim = ChunkClaim(
            keys=JobKeys("j", 0),
            key="",
            entry="1-0",
            index=index,
            work=work,
            pcm=chunk.pcm.astype("<i2").tobytes(),
            options=options,
            language=options.only_language,
        )
        await ChunkWork(claim, claims, scheduler, known=None).run()  # type: ignore[arg-type]
    serving.cancel()
    scheduler.close()
    return claims.found
