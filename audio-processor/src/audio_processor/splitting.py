"""One job in its owner: its file is fetched, decoded, split into chunks, and deleted."""

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

from audio_processor.chunking import (
    DETECTION_CHUNKS,
    LONG_CHUNKS,
    SHORT_CHUNKS,
    ChunkPlanner,
    Pauses,
    PlannedChunk,
)
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.recording import Recording
from parlando.blobs import Blobs
from parlando.domain.audio import SAMPLE_RATE, Pcm16, seconds, to_float
from parlando.errors import InvalidAudioError, ParlandoError, TooBigError, UnavailableError
from parlando.outbound import Download, Outbound, RefusedAddressError, SendError
from parlando.store.chunk_claims import ChunkSpec
from parlando.store.job_claims import Chunk, JobClaim, JobLog
from parlando.vad import FRAME, VadModel

BLOCK: Final = 256 * FRAME  # samples per call of the voice detector: 8 s
FULL_RETRY_S: Final = 0.05  # interval of attempts while the queue of chunks is full
UNAVAILABLE_RETRY_S: Final = 0.5  # interval of attempts while Redis is full or unavailable …
UNAVAILABLE_TIMEOUT_S: Final = 60.0  # … and the time after which the job is left to another worker

log = structlog.get_logger(part="jobs")


class JobFailedError(ParlandoError):
    """Raised when a job can't be split by any worker. `code`: the error code sent to the submitter."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class SplitDeps:
    """The dependencies and limits of `JobSplitter`.

    `min_bytes_per_s`: least bytes per second of a fetched URL. `languages`: pool → number of languages
    that its engine supports; 0 for any.
    """

    blobs: Blobs
    ffmpeg: Ffmpeg
    vad: VadModel
    thread: Executor
    outbound: Outbound | None
    min_bytes_per_s: float
    max_bytes: int
    max_chunks: int
    max_samples: int
    languages: Callable[[str], int]


class JobSplitter:
    """Splits a claimed job. `run` returns when all its chunks are queued, or when the job has failed."""

    def __init__(self, claim: JobClaim, job_log: JobLog, deps: SplitDeps) -> None:
        self.claim = claim
        self._record = claim.record
        self._job_log = job_log
        self._deps = deps
        self._index = 0

    async def run(self) -> None:
        """Split the job; if that is impossible, end it with the reason.

        Raises
        ------
        FencedError, JobEndedError, UnavailableError, StorageError

        """
        try:
            if not self._record.cut:
                await self._split()
        except (JobFailedError, InvalidAudioError) as error:
            await self._job_log.fail(error.code, error.message)

    async def delete_audio(self) -> None:
        """Delete the audio."""
        await self._deps.blobs.delete(self._record.source.blob)

    async def _split(self) -> None:
        descriptor = await self._open()
        try:
            options = self._record.options
            recording = Recording(
                self._deps.ffmpeg,
                descriptor,
                split=options.channels == "split",
                track=options.track,
                languages=options.languages,
            )
            async with aclosing(self._planned(recording)) as planned:
                async for chunk, speaker in planned:
                    await self._add(chunk, speaker, recording)
                    if self._record.options.task == "detect_language":
                        break  # the first speech is enough
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
            async with self._deps.outbound.get(url, min_bytes_per_s=self._deps.min_bytes_per_s) as answer:
                if answer.status != 200:
                    raise JobFailedError("url_failed", f"The URL answered {answer.status}")
                await self._deps.blobs.put(self._record.source.blob, self._limited(answer))
        except (RefusedAddressError, TooBigError) as error:
            raise JobFailedError("url_refused", error.message) from error
        except SendError as error:
            raise JobFailedError("url_failed", f"The URL can't be fetched: {error.message}") from error

    async def _limited(self, answer: Download) -> AsyncIterator[bytes]:
        size, limit, raised_by = 0, self._deps.max_bytes, "MAX_UPLOAD_MB"
        if 0 < self._record.source.max_bytes < limit:
            limit, raised_by = self._record.source.max_bytes, "`upload_mb` of the key or owner"
        async for part in answer.parts():
            size += len(part)
            if size > limit:
                raise TooBigError(f"The URL has more than {limit >> 20} MB ({raised_by})")
            yield part

    # --- cutting ------------------------------------------------------------------------------

    async def _planned(self, recording: Recording) -> AsyncGenerator[tuple[PlannedChunk, str | None]]:
        """The chunks of all channels, each channel's in order, and the speaker of each chunk."""
        channels: list[_Channel] = []
        async with aclosing(recording.pcm()) as decoded:
            async for pcm in decoded:
                if not channels:
                    channels = [
                        _Channel(ChunkPlanner(self._pauses), self._deps, number)
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

    @property
    def _pauses(self) -> Pauses:
        options = self._record.options
        if options.task == "detect_language":
            return DETECTION_CHUNKS
        return SHORT_CHUNKS if options.eager else LONG_CHUNKS

    def _speaker(self, channel: "_Channel") -> str | None:
        return f"SPEAKER_{channel.number:02d}" if self._record.options.channels == "split" else None

    async def _add(self, planned: PlannedChunk, speaker: str | None, recording: Recording) -> None:
        """Queue a chunk as soon as there is room for it."""
        work = ChunkSpec(
            start=planned.start,
            speech=planned.speech,
            covered_samples=planned.span_end - planned.span_start,
            speaker=speaker,
        )
        chunk = Chunk(self._index, work.model_dump(exclude_none=True), planned.pcm.tobytes())
        detects_language = (
            self._record.options.only_language is None and self._deps.languages(self._record.pool) != 1
        )
        deadline = time.monotonic() + UNAVAILABLE_TIMEOUT_S
        while True:
            try:
                if await self._job_log.add(
                    chunk,
                    limit=self._deps.max_chunks,
                    position=recording.samples * recording.channels,
                    expected=recording.expected_samples * recording.channels,
                    language_first=detects_language,
                ):
                    break
                deadline = time.monotonic() + UNAVAILABLE_TIMEOUT_S
            except UnavailableError as error:
                log.warning("chunk.waits", job=self._record.job, error=error.message)
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(UNAVAILABLE_RETRY_S)
            await asyncio.sleep(FULL_RETRY_S)
        self._index += 1


class _Channel:
    """Passes one channel through the voice detector to its planner."""

    def __init__(self, planner: ChunkPlanner, deps: SplitDeps, number: int) -> None:
        self.number = number
        self._planner = planner
        self._vad = deps.vad.stream()
        self._thread = deps.thread
        self._waiting: list[Pcm16] = []
        self._size = 0

    async def push(self, pcm: Pcm16) -> list[PlannedChunk]:
        """Add samples of shape (n,). Returns the chunks that they complete."""
        self._waiting.append(pcm)
        self._size += len(pcm)
        return await self._plan() if self._size >= BLOCK else []

    async def finish(self) -> list[PlannedChunk]:
        """The remaining chunks."""
        found = await self._plan()
        return found + self._planner.finish(np.concatenate([*self._waiting, np.zeros(0, np.int16)]))

    async def _plan(self) -> list[PlannedChunk]:
        """Pass all whole frames through the detector and the planner, in the background thread."""
        if self._size < FRAME:
            return []
        joined = np.concatenate(self._waiting)
        whole = len(joined) // FRAME * FRAME
        self._waiting, self._size = [joined[whole:]], len(joined) - whole

        def plan() -> list[PlannedChunk]:
            return self._planner.push(joined[:whole], self._vad.push(to_float(joined[:whole])))

        return await asyncio.get_running_loop().run_in_executor(self._thread, plan)
