"""Conversions without Redis: a whole stream, or a file."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import numpy as np

from audio_processor.container_conversion import ContainerConversion
from audio_processor.conversion import Conversion, PcmConversion
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import PcmLayout, of_raw, sniff
from audio_processor.recording import Recording
from audio_processor.timeline import Jump
from parlando.domain.audio import Encoding
from parlando.domain.formats import AudioFormat

CONTAINER = AudioFormat(encoding=Encoding.CONTAINER)


class Taken:
    """A conversion of a whole stream, without Redis."""

    def __init__(self, program: Ffmpeg, data: bytes, form: AudioFormat, emitted: int = 0) -> None:
        layout = (
            sniff(data[: 1 << 16], complete=True) if form.encoding is Encoding.CONTAINER else of_raw(form)
        )
        assert layout is not None
        self.data = data
        self.pcm = bytearray()
        self.jumps: list[Jump] = []
        self.conversion: Conversion
        if isinstance(layout, PcmLayout):
            self.conversion = PcmConversion(program, form, self._emit, lambda: None, emitted, layout)
        else:
            self.conversion = ContainerConversion(
                program, form, self._emit, lambda: None, emitted, layout, keep=1 << 26, reread=self._again
            )

    async def _emit(self, pcm: bytes, jumps: Sequence[Jump] = ()) -> None:
        self.pcm += pcm
        self.jumps += jumps

    async def _again(self) -> AsyncIterator[bytes]:
        yield self.data

    async def feed(self, start: int, stop: int, piece: int = 5000) -> None:
        """Convert the bytes [start, stop)."""
        for at in range(start, stop, piece):
            await self.conversion.write(at, self.data[at : min(at + piece, stop)])

    async def all(self) -> bytes:
        """Convert everything; returns all PCM."""
        try:
            await self.feed(self.conversion.needed, len(self.data))
            await self.conversion.finish()
        finally:
            await self.conversion.close()
        return bytes(self.pcm)


async def live(program: Ffmpeg, data: bytes, *, piece: int = 5000) -> Taken:
    """A container converted as it comes."""
    taken = Taken(program, data, CONTAINER)
    async with asyncio.timeout(600):
        try:
            await taken.feed(0, len(data), piece)
            await taken.conversion.finish()
        finally:
            await taken.conversion.close()
    return taken


async def decoded(program: Ffmpeg, data: bytes, **options: object) -> tuple[np.ndarray, Recording]:
    """A file decoded as a job does it: samples of shape (n, channels). `options`: of `Recording`."""
    descriptor = os.memfd_create("job")
    try:
        os.write(descriptor, data)
        recording = Recording(program, descriptor, **({"split": False} | options))  # type: ignore[arg-type]
        async with asyncio.timeout(600), aclosing(recording.pcm()) as blocks:
            found = [block async for block in blocks]
    finally:
        os.close(descriptor)
    return np.concatenate(found), recording
