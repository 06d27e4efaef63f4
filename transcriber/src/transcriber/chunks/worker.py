"""Chunks of jobs: claimed while no live window waits, and decoded; the results go to Redis."""

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Final

import numpy as np

from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, Float32, samples, to_float
from parlando.domain.decode_options import ENGLISH
from parlando.domain.transcript import FinalSegment
from parlando.errors import EngineError
from parlando.store.chunk_claims import ChunkClaim, ChunkClaims
from parlando.store.leases import LeasePool, PoolMetrics, Renewal
from transcriber import metrics
from transcriber.chunks.segments import language_segment, segments
from transcriber.engines.base import Hypothesis, Window
from transcriber.known_speakers import KnownSpeakersCache
from transcriber.pipeline.language import detected
from transcriber.recognition.deadlines import Lane
from transcriber.recognition.scheduler import Scheduler

MARGIN_S: Final = 0.1  # of audio around a segment that is translated
WAITING: Final = 1  # chunks claimed in advance, so that the engine doesn't wait for Redis


class ChunkWork:
    """A claimed chunk. If `run` raises, the pool counts a failed attempt, and another worker may retry."""

    def __init__(
        self, claim: ChunkClaim, claims: ChunkClaims, scheduler: Scheduler, known: KnownSpeakersCache
    ) -> None:
        self._claim = claim
        self._claims = claims
        self._scheduler = scheduler
        self._known = known

    async def run(self) -> None:
        """Decode the chunk and store its segments.

        Raises
        ------
        EngineError, UnavailableError

        """
        claim = self._claim
        if claim.labels_speakers:
            await self._label()
            return
        try:
            (hypothesis, found), voices = await asyncio.gather(self._decode(), self._voices())
        except EngineError:
            metrics.ENGINE_ERRORS.inc()
            metrics.CHUNKS.labels("failed").inc()
            raise
        await self._claims.done(claim, found, _language(claim, hypothesis), voices=voices)
        metrics.CHUNKS.labels("done").inc()
        self._scheduler.note_settled(len(claim.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE, live=False)

    async def _label(self) -> None:
        """The last step of a job with voices: who says which word, or how the enrolled person sounds."""
        claim, results = self._claim, self._claims.results(self._claim)
        if claim.options.enrol:
            await self._claims.enrol(claim, await _speakers().clip(results))
            return
        option = claim.options.known_speakers
        known = await self._known.voices(claim.key, option, newest=True) if option else None
        await self._claims.label(claim, await _speakers().runs_of(results, claim.options, known))

    async def _voices(self) -> bytes:
        """The voices of the chunk, if its job labels speakers."""
        claim = self._claim
        if not claim.options.labels_speakers:
            return b""
        enrol = claim.options.enrol
        return bytes(await _speakers().voices_of(claim.work, _samples(claim), enrol=enrol))

    async def _decode(self) -> tuple[Hypothesis, Sequence[FinalSegment]]:
        claim, info = self._claim, self._scheduler.engine.info
        options = claim.options
        if options.enrol:
            return Hypothesis(()), ()
        if options.required_task not in info.tasks:
            raise EngineError(f"the engine {info.name} can't {options.required_task}")
        answer = await self._scheduler.submit(Lane.CHUNK, lambda: _window(claim)).answer
        hypothesis = answer or Hypothesis(())
        if options.task == "detect_language":
            return hypothesis, language_segment(claim.work, hypothesis)
        found = segments(claim.work, hypothesis, words=options.timed, task=options.task)
        if options.translations and options.task == "transcribe":
            found = await self._translated(found)
        return hypothesis, found

    async def _translated(self, found: Sequence[FinalSegment]) -> list[FinalSegment]:
        """The segments with their translations into English, each decoded from its own audio."""
        tickets = {
            number: self._scheduler.submit(Lane.CHUNK, partial(_translation_window, self._claim, segment))
            for number, segment in enumerate(found)
            if segment.language != ENGLISH
        }
        answers = await asyncio.gather(*(ticket.answer for ticket in tickets.values()))
        texts = {
            number: answer.text for number, answer in zip(tickets, answers, strict=True) if answer is not None
        }
        return [
            segment.model_copy(update={"translations": {ENGLISH: texts[number]}})
            if texts.get(number)
            else segment
            for number, segment in enumerate(found)
        ]


def _speakers() -> ModuleType:
    """The module that labels speakers; loaded when it is needed, with its model."""
    return import_module("transcriber.chunks.speakers")


def chunk_pool(
    claims: ChunkClaims, scheduler: Scheduler, known: KnownSpeakersCache
) -> LeasePool[ChunkClaim, Renewal, ChunkWork]:
    """The pool of one process: one chunk more than the engine decodes at once; 0 while live windows wait."""
    info = scheduler.engine.info
    limit = info.batch * info.parallel + WAITING
    return LeasePool(
        claims,
        noun="chunk",
        begin=lambda claim: ChunkWork(claim, claims, scheduler, known),
        room=lambda held: 0 if scheduler.waiting else limit - held,
        metrics=PoolMetrics(metrics.CHUNKS_HELD, metrics.CHUNK_CLAIMS, metrics.CHUNKS_FENCED),
    )


def _window(claim: ChunkClaim) -> Window:
    options = claim.options
    return Window(
        _samples(claim),
        language=options.only_language or claim.language,
        languages=options.languages,
        prompt=options.prompt,
        hotwords=options.hotwords,
        task=options.task,
        words=options.task != "detect_language",
        final=True,
        voiced_s=sum(end - start for start, end in claim.work.speech) / samples(1000),
    )


def _translation_window(claim: ChunkClaim, segment: FinalSegment) -> Window:
    """The audio of a segment, with a margin because word times are inexact."""
    origin = claim.work.start / SAMPLE_RATE
    start, end = (
        round((at - origin) * SAMPLE_RATE) for at in (segment.start - MARGIN_S, segment.end + MARGIN_S)
    )
    return Window(
        _samples(claim)[max(0, start) : end],
        language=segment.language,
        languages=claim.options.languages,
        hotwords=claim.options.hotwords,
        task="translate",
        final=True,
        voiced_s=segment.end - segment.start,
    )


def _samples(claim: ChunkClaim) -> Float32:
    return to_float(np.frombuffer(claim.pcm, "<i2"))


def _language(claim: ChunkClaim, hypothesis: Hypothesis) -> str | None:
    """The language for the job's further chunks; None if a chunk without words, or an uncertain detection,
    doesn't tell it.
    """
    known = claim.options.only_language or claim.language
    if known or claim.options.task == "detect_language":
        return known or hypothesis.language
    found = detected(hypothesis)
    certain = found is None or found.is_trusted
    return hypothesis.language if hypothesis.words and certain else None
