"""One job in the hands of its owner: its file is fetched, decoded, cut into chunks, and deleted."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from audio_processor.chunking import EAGER, LONG, ChunkPlanner, PlannedChunk
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.recording import Recording
from parlando.blobs import Blobs
from parlando.domain.audio import SAMPLE_RATE, Pcm16, seconds, to_float
from parlando.errors import InvalidAudioError, ParlandoError, TooBigError, UnavailableError
from parlando.outbound import Download, Outbound, RefusedAddressError, SendError
from parlando.store.chunk_claims import ChunkSpec
from parlando.store.job_claims import Chunk, JobClaim, JobLog
from parlando.vad import FRAME, VadModel

BLOCK: Final = 256 * FRAME  # samples that the voice detector hears at once: 8 s
WAIT_S: Final = 0.05  # until a full queue is tried again
AWAY_S: Final = 0.5  # … if it's Redis that is full, or away …
PATIENCE_S: Final = 60.0  # … for so long, before the job is left to another

log = structlog.get_logger(part="jobs")


class JobFailedError(ParlandoError):
    """Raised when a job can't be done, whoever tries; `code` is what its submitter is told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class SplitDeps:
    """What every preparation needs.

    `slowest`: bytes a second that a fetched URL must bring.
    `languages`: how many the cluster's engines know, 0 for any.
    """

    blobs: Blobs
    ffmpeg: Ffmpeg
    vad: VadModel
    thread: Executor
    outbound: Outbound | None
    slowest: float
    max_bytes: int
    max_chunks: int
    max_samples: int
    languages: Callable[[], int]


class JobSplitter:
    """A claimed job. `run` returns when all its chunks are queued, or when it has failed."""

    def __init__(self, claim: JobClaim, job_log: JobLog, deps: SplitDeps) -> None:
        self.claim = claim
        self._record = claim.record
        self._job_log = job_log
        self._deps = deps
        self._index = 0

    async def run(self) -> None:
        """Do it; a job that can't be done is ended with the reason.

        Raises
        ------
        FencedError, JobEndedError, UnavailableError, StorageError

        """
        try:
            if not self._record.cut:
                await self._cut_up()
        except (JobFailedError, InvalidAudioError) as error:
            await self._job_log.fail(error.code, error.message)

    async def delete_audio(self) -> None:
        """Delete the audio."""
        await self._deps.blobs.delete(self._record.source.blob)

    async def _cut_up(self) -> None:
        descriptor = await self._open()
        try:
            recording = Recording(
                self._deps.ffmpeg, descriptor, split=self._record.options.channels == "split"
            )
            async with aclosing(self._planned(recording)) as planned:
                async for chunk, speaker in planned:
                    await self._add(chunk, speaker, recording)
            await self._job_log.cut(recording.samples, recording.channels)
            log.info("job.cut", job=self._record.job, seconds=seconds(recording.samples), chunks=self._index)
        finally:
            os.close(descriptor)

    # --- the file -----------------------------------------------------------------------------

    async def _open(self) -> int:
        source = self._record.source
        descriptor = await self._deps.blobs.open(source.blob)
        if descriptor is None and source.url:
            await self._fetch(source.url)
            descriptor = await self._deps.blobs.open(source.blob)
        if descriptor is None:
            raise JobFailedError(
                "audio_lost",
                "The file is not in the blob store; gateways and audio-processors must share BLOB_URL",
            )
        return descriptor

    async def _fetch(self, url: str) -> None:
        if self._deps.outbound is None:
            raise JobFailedError("url_refused", "URLs are not fetched here; ALLOW_URL_FETCH=1 allows it")
        try:
            async with self._deps.outbound.get(url, slowest=self._deps.slowest) as answer:
                if answer.status != 200:
                    raise JobFailedError("url_failed", f"The URL answered {answer.status}")
                await self._deps.blobs.put(self._record.source.blob, self._limited(answer))
        except (RefusedAddressError, TooBigError) as error:
            raise JobFailedError("url_refused", error.message) from error
        except SendError as error:
            raise JobFailedError("url_failed", f"The URL can't be fetched: {error.message}") from error

    async def _limited(self, answer: Download) -> AsyncIterator[bytes]:
        size = 0
        async for part in answer.parts():
            size += len(part)
            if size > self._deps.max_bytes:
                raise TooBigError(f"The URL has more than {self._deps.max_bytes >> 20} MB (MAX_UPLOAD_MB)")
            yield part

    # --- cutting ------------------------------------------------------------------------------

    async def _planned(self, recording: Recording) -> AsyncGenerator[tuple[PlannedChunk, str | None]]:
        """The chunks of all channels, each channel's in order, and whose they are."""
        channels: list[_Channel] = []
        async with aclosing(recording.pcm()) as decoded:
            async for pcm in decoded:
                if not channels:
                    pauses = EAGER if self._record.options.eager else LONG
                    channels = [
                        _Channel(ChunkPlanner(pauses), self._deps, number)
                        for number in range(recording.channels)
                    ]
                if recording.samples > self._deps.max_samples:
                    raise JobFailedError(
                        "too_long",
                        "The recording is longer than "
                        f"{self._deps.max_samples // SAMPLE_RATE // 3600} hours (MAX_JOB_HOURS)",
                    )
                for channel in channels:
                    for chunk in await channel.push(pcm[:, channel.number]):
                        yield chunk, self._speaker(channel)
        for channel in channels:
            for chunk in await channel.finish():
                yield chunk, self._speaker(channel)

    def _speaker(self, channel: "_Channel") -> str | None:
        return f"SPEAKER_{channel.number:02d}" if self._record.options.channels == "split" else None

    async def _add(self, planned: PlannedChunk, speaker: str | None, recording: Recording) -> None:
        """Queue a chunk, as soon as there's room for it."""
        work = ChunkSpec(
            start=planned.start,
            speech=planned.speech,
            stands_for=planned.turn_end - planned.turn_start,
            speaker=speaker,
        )
        chunk = Chunk(self._index, work.model_dump(exclude_none=True), planned.pcm.tobytes())
        asks_language = self._record.options.language is None and self._deps.languages() != 1
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if await self._job_log.add(
                    chunk,
                    limit=self._deps.max_chunks,
                    position=recording.samples * recording.channels,
                    expected=recording.promised * recording.channels,
                    language_first=asks_language,
                ):
                    break
                deadline = time.monotonic() + PATIENCE_S
            except UnavailableError as error:
                log.warning("chunk.waits", job=self._record.job, error=error.message)
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(AWAY_S)
            await asyncio.sleep(WAIT_S)
        self._index += 1


class _Channel:
    """One channel on its way through the voice detector to its planner."""

    def __init__(self, planner: ChunkPlanner, deps: SplitDeps, number: int) -> None:
        self.number = number
        self._planner = planner
        self._vad = deps.vad.stream()
        self._thread = deps.thread
        self._waiting: list[Pcm16] = []
        self._size = 0

    async def push(self, pcm: Pcm16) -> list[PlannedChunk]:
        """Take samples; the chunks that they complete."""
        self._waiting.append(pcm)
        self._size += len(pcm)
        return await self._hear() if self._size >= BLOCK else []

    async def finish(self) -> list[PlannedChunk]:
        """The chunks that are left."""
        found = await self._hear()
        return found + self._planner.finish(np.concatenate([*self._waiting, np.zeros(0, np.int16)]))

    async def _hear(self) -> list[PlannedChunk]:
        if self._size < FRAME:
            return []
        joined = np.concatenate(self._waiting)
        whole = len(joined) // FRAME * FRAME
        self._waiting, self._size = [joined[whole:]], len(joined) - whole

        def plan() -> list[PlannedChunk]:
            return self._planner.push(joined[:whole], self._vad.push(to_float(joined[:whole])))

        return await asyncio.get_running_loop().run_in_executor(self._thread, plan)
