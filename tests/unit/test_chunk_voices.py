"""The voices of a job's chunks: whether the audio is a telephone's is told in enrolments only."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest

from parlando.domain.job_options import JobOptions
from parlando.store.chunk_claims import ChunkClaim, ChunkSpec
from parlando.store.keys import JobKeys
from transcriber.chunks import speakers
from transcriber.chunks.worker import ChunkWork
from transcriber.speakers.embedding import DIMENSIONS
from transcriber.speakers.voices import Voices

SAMPLES = 64_000


class Claims:
    """Stands for Redis: keeps the voices of the chunk."""

    async def done(self, claim, found, language, *, voices: bytes) -> None:
        self.voices = Voices.unpack(voices)


class Scheduler:
    """Stands for an engine that hears no words."""

    engine = SimpleNamespace(info=SimpleNamespace(tasks=("transcribe",)))

    def submit(self, lane, window) -> SimpleNamespace:
        return SimpleNamespace(answer=asyncio.sleep(0, None))

    def note_settled(self, seconds: float, *, live: bool) -> None:
        pass


def embedded(clip: np.ndarray) -> Future:
    future: Future = Future()
    future.set_result(np.eye(1, DIMENSIONS, dtype=np.float32)[0])
    return future


@pytest.mark.parametrize("enrol", [True, False])
async def test_the_bandwidth_is_told_in_enrolments_only(monkeypatch, enrol):
    asked: list[int] = []
    monkeypatch.setattr(speakers, "embedded", embedded)
    monkeypatch.setattr(speakers, "is_narrow", lambda pcm: not asked.append(len(pcm)))
    work = ChunkSpec(start=0, speech=((0, SAMPLES),), covered_samples=SAMPLES)
    options = JobOptions(diarize=True, enrol=enrol)
    claims, pcm = Claims(), b"\1\0" * SAMPLES
    claim = ChunkClaim(JobKeys("j", 0), "k", "1-0", 0, work, pcm, options, None)
    await ChunkWork(claim, claims, Scheduler(), known=None).run()  # type: ignore[arg-type]
    assert len(claims.voices.windows) > 0
    assert (claims.voices.narrow, asked) == ((True, [SAMPLES]) if enrol else (False, []))
