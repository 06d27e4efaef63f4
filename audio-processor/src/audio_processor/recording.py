"""Decodes one file to PCM with FFmpeg, mixed to one channel or with all channels."""

import os
from collections.abc import AsyncGenerator
from typing import Final

import numpy as np

from audio_processor import command
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, PcmLayout, sniff
from audio_processor.process import FfmpegProcess
from parlando.background import yield_to_others
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, Pcm16, WholeFrames
from parlando.errors import InvalidAudioError

HEAD: Final = 1 << 16  # first bytes from which a file's format is recognised
HEADER: Final = 12  # least bytes by which a WAV is recognised


class Recording:
    """The file open as `descriptor`. `split`: keep all its channels instead of a mix of them."""

    def __init__(self, ffmpeg: Ffmpeg, descriptor: int, *, split: bool) -> None:
        self._ffmpeg = ffmpeg
        self._descriptor = descriptor
        self._split = split
        self.channels = 1
        self.samples = 0
        """Samples read so far, in each channel."""
        self.expected_samples = 0
        """Samples by the duration in the file's header; 0 if there is none."""

    def _line(self) -> list[str]:
        found = sniff(os.pread(self._descriptor, HEAD, 0), complete=True)
        layout = found if isinstance(found, ContainerLayout) else ContainerLayout("wav")
        source, descriptor = self._ffmpeg.source(self._descriptor)
        return command.decode(
            self._ffmpeg.path,
            layout,
            form="wav",
            source=source,
            descriptor=descriptor,
            split=self._split,
            level="info",
        )

    async def pcm(self) -> AsyncGenerator[Pcm16]:
        """Blocks of samples at 16 kHz, int16 of shape (n, channels), as they are decoded.

        A file that's damaged further on gives the audio before the damage. The generator owns an FFmpeg
        process: close it (`contextlib.aclosing`).

        Raises
        ------
        InvalidAudioError
            if nothing can be decoded.

        """
        started = await FfmpegProcess.start(
            self._line(), descriptors=(self._descriptor,), watch=command.DURATION
        )
        async with started as process:
            yield_to_others(process.pid)
            process.close_input()
            header = await self._header(process)
            frames = WholeFrames(BYTES_PER_SAMPLE * self.channels)
            data: bytes = header
            while True:
                if whole := frames.push(data):
                    block = np.frombuffer(whole, "<i2").reshape(-1, self.channels)
                    self.samples += len(block)
                    self.expected_samples = self._declared_samples(process)
                    process.progressed(self.samples * self.channels / SAMPLE_RATE)
                    yield block
                if not (data := await process.read()):
                    break
            await process.wait()
            if not self.samples:
                raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")

    async def _header(self, process: FfmpegProcess) -> bytes:
        """Read the WAV header of FFmpeg's output. Returns the bytes read behind it."""
        head = b""
        while data := await process.read():
            head += data
            if len(head) < HEADER or head[:4] != b"RIFF":
                continue
            layout = sniff(head, complete=False)
            if isinstance(layout, PcmLayout):
                self.channels = layout.channels
                return head[layout.skip :]
        await process.wait()
        raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")

    def _declared_samples(self, process: FfmpegProcess) -> int:
        if process.found is None:
            return 0
        hours, minutes, whole = (float(process.found[name]) for name in ("h", "m", "s"))
        return int((hours * 3600 + minutes * 60 + whole) * SAMPLE_RATE)
