"""Decodes one file to PCM with FFmpeg, mixed to one channel or with all channels."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from audio_processor import command, timeline
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, PcmLayout, sniff
from audio_processor.mixing import Mixer
from audio_processor.parts import Part, parts_of
from audio_processor.process import FfmpegProcess
from audio_processor.report import Track
from audio_processor.tracks import select
from parlando.background import yield_to_others
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, Pcm16, WholeFrames
from parlando.errors import InvalidAudioError

HEAD: Final = 1 << 16  # first bytes from which a file's format is recognised
HEADER: Final = 12  # least bytes by which a WAV is recognised
MAX_PARTS: Final = 1000  # recordings joined in one file
SILENCE: Final = 10 * SAMPLE_RATE  # samples of silence that are passed on at a time

log = structlog.get_logger(part="recording")


@dataclass(slots=True)
class _Opened:
    """An FFmpeg that decodes one part. `channels`: of its output. `first`: its first bytes of samples."""

    process: FfmpegProcess
    channels: int
    first: bytes


class Recording:
    """The file open as `descriptor`. `split`: keep all its channels instead of a mix of them.

    `track`: number of the audio track, from 1; None to select the one in the first of `languages` (codes)
    that a track has, else the file's default. Recordings that were joined byte by byte follow one another.
    """

    def __init__(
        self,
        ffmpeg: Ffmpeg,
        descriptor: int,
        *,
        split: bool,
        track: int | None = None,
        languages: Sequence[str] = (),
    ) -> None:
        self._ffmpeg = ffmpeg
        self._descriptor = descriptor
        self._split = split
        self._track = track
        self._languages = languages
        self.channels = 0
        """Channels of the samples; 0 before the first ones."""
        self.samples = 0
        """Samples read so far, in each channel."""
        self.expected_samples = 0
        """Samples by the duration in the file's header; 0 if there is none."""
        self.selected: Track | None = None
        """The audio track that is decoded, once that is known."""

    async def pcm(self) -> AsyncGenerator[Pcm16]:
        """Blocks of samples at 16 kHz, int16 of shape (n, channels), as they are decoded.

        A file that's damaged further on gives the audio before the damage. The generator owns an FFmpeg
        process: close it (`contextlib.aclosing`).

        Raises
        ------
        InvalidAudioError
            if nothing can be decoded, or the file doesn't have the track.

        """
        parts = await asyncio.to_thread(self._parts)
        for part in parts:
            try:
                async with aclosing(self._decoded(part, alone=len(parts) == 1)) as blocks:
                    async for block in blocks:
                        self.samples += len(block)
                        yield block
            except InvalidAudioError as error:
                if not self.samples:
                    raise
                log.info("part.undecodable", start=part.start, why=error.message)

    def _parts(self) -> list[Part]:
        """The recordings in the file, one after the other."""
        found: list[Part] = []
        start, size = 0, os.fstat(self._descriptor).st_size
        while len(found) < MAX_PARTS:
            head = os.pread(self._descriptor, HEAD, start)
            try:
                layout = sniff(head, complete=True)
            except InvalidAudioError:
                if found:
                    return [*found[:-1], Part(found[-1].start, size, found[-1].layout)]
                raise
            container = layout if isinstance(layout, ContainerLayout) else ContainerLayout("wav")
            end = start + self._length(layout, start, size)
            found.append(Part(start, end, container))
            if end >= size:
                return found
            start = end
        return found

    def _length(self, layout: PcmLayout | ContainerLayout | None, start: int, size: int) -> int:
        """The bytes of the recording that begins at `start`."""
        assert layout is not None
        parts = parts_of(layout)
        while (at := start + parts.wanted) < size:
            data = os.pread(self._descriptor, parts.best, at)
            if (end := parts.push(at - start, data)) is not None:
                return end
            if start + parts.wanted == at:  # fewer bytes than a header
                break
        return size - start

    # --- one part -----------------------------------------------------------------------------

    async def _decoded(self, part: Part, *, alone: bool) -> AsyncGenerator[Pcm16]:
        before = self.expected_samples
        async with self._opened(part, alone=alone) as opened:
            process = opened.process
            await process.reported(lambda: process.report.jumps.first_s is not None)
            if not self.channels:
                self.channels = opened.channels if self._split else 1
            silent = process.report.lead(timeline.FILE)
            for at in range(0, silent, SILENCE):
                yield np.zeros((min(SILENCE, silent - at), self.channels), np.int16)
            mixer = Mixer() if opened.channels == 2 and not self._split else None
            frames = WholeFrames(BYTES_PER_SAMPLE * opened.channels)
            data, decoded = opened.first, 0
            while True:
                if whole := frames.push(data):
                    block = np.frombuffer(whole, "<i2").reshape(-1, opened.channels)
                    decoded += len(block)
                    if process.report.duration_s:
                        self.expected_samples = before + int(process.report.duration_s * SAMPLE_RATE)
                    process.progressed((silent + decoded) * opened.channels / SAMPLE_RATE)
                    yield self._fitting(mixer.push(block) if mixer else block)
                if not (data := await process.read()):
                    break
            if mixer:
                yield self._fitting(mixer.finish())
            await process.wait()
            if not decoded:
                raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")

    def _fitting(self, block: Pcm16) -> Pcm16:
        """A block with as many channels as the first part; another number is mixed into one of them."""
        if block.shape[1] == self.channels:
            return block
        fitted = np.zeros((len(block), self.channels), np.int16)
        fitted[:, 0] = block.mean(axis=1)
        return fitted

    @asynccontextmanager
    async def _opened(self, part: Part, *, alone: bool) -> AsyncIterator[_Opened]:
        """Start FFmpeg on the selected track.

        The first attempt is with all channels of the first track, which is right for most files. What FFmpeg
        then prints says which track is to be decoded, and whether it has more channels than `Mixer` mixes.
        """
        number, split = 0, True
        while True:
            async with await self._started(part, number, split=split, alone=alone) as process:
                process.close_input()
                channels, first = await self._header(process)
                await process.reported(lambda: process.report.described)
                tracks = process.report.tracks
                selected = select(tracks, self._track, self._languages) if tracks else number
                if selected == number and channels is None:
                    raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")
                many = channels is not None and channels > 2 and split and not self._split
                if selected == number and not many:
                    self.selected = tracks[number] if tracks else None
                    assert channels is not None
                    yield _Opened(process, channels, first)
                    return
            number, split = selected, self._split or (split and not many)

    async def _started(self, part: Part, track: int, *, split: bool, alone: bool) -> FfmpegProcess:
        source, descriptor = self._ffmpeg.source(self._descriptor)
        if not alone:
            source, descriptor = f"file:/proc/self/fd/{self._descriptor}", None
        line = command.decode(
            self._ffmpeg.path,
            part.layout,
            form="wav",
            source=source,
            descriptor=descriptor,
            split=split,
            level="info",
            track=track,
            limits=timeline.FILE,
            section=None if alone else (part.start, part.end),
        )
        os.lseek(self._descriptor, 0, os.SEEK_SET)  # FFmpeg may read from the position of the descriptor
        process = await FfmpegProcess.start(line, descriptors=(self._descriptor,))
        yield_to_others(process.pid)
        return process

    async def _header(self, process: FfmpegProcess) -> tuple[int | None, bytes]:
        """Read the WAV header of FFmpeg's output.

        Returns the channels and the bytes read behind it; None if FFmpeg ended without a header.
        """
        head = b""
        while data := await process.read():
            head += data
            if len(head) < HEADER or head[:4] != b"RIFF":
                continue
            layout = sniff(head, complete=False)
            if isinstance(layout, PcmLayout):
                return layout.channels, head[layout.skip :]
        await process.wait()
        return None, b""
