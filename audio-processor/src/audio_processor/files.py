"""Files uploaded over HTTP: their properties, and their audio as 16 kHz mono.

An upload is received completely, because many clients read no answer before they have sent everything. It is
held in memory, because audio is never written to disk. The decoded audio is streamed.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from audio_processor import command
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, PcmLayout, sniff
from audio_processor.process import FfmpegProcess
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.errors import InvalidAudioError, TooBigError

CONCURRENCY: Final = 4  # uploads held in memory; further requests wait
HEAD: Final = 1 << 16  # first bytes from which a file's format is recognised
_STREAM: Final = re.compile(r"Stream #\S+ *Audio: (?P<codec>\w+).*?, (?P<rate>\d+) Hz, (?P<layout>[^,]+)")
_CHANNELS: Final = {
    "mono": 1,
    "stereo": 2,
    "2.1": 3,
    "3.0": 3,
    "4.0": 4,
    "quad": 4,
    "5.0": 5,
    "5.1": 6,
    "7.1": 8,
}


class Files:
    """Decodes uploads of at most `limit` bytes, `CONCURRENCY` at a time."""

    def __init__(self, ffmpeg: Ffmpeg, limit: int) -> None:
        self._ffmpeg = ffmpeg
        self._limit = limit
        self._room = asyncio.Semaphore(CONCURRENCY)

    @asynccontextmanager
    async def _decoding(
        self, body: AsyncIterator[bytes], form: str, *, level: str = "error"
    ) -> AsyncGenerator[FfmpegProcess]:
        """An FFmpeg that decodes the upload to `form` ("s16le" or "wav")."""
        async with self._room:
            memory = os.memfd_create("audio")
            try:
                line = self._line(await self._receive(memory, body), memory, form, level)
                async with await FfmpegProcess.start(line, descriptors=(memory,), watch=_STREAM) as process:
                    process.close_input()
                    yield process
            finally:
                os.close(memory)

    async def _receive(self, memory: int, body: AsyncIterator[bytes]) -> ContainerLayout:
        size = 0
        async for part in body:
            size += len(part)
            if size > self._limit:
                raise TooBigError(f"Expected a file of at most {self._limit >> 20} MB")
            os.write(memory, part)
        if not size:
            raise InvalidAudioError("Expected an audio file, but no bytes came")
        os.lseek(memory, 0, os.SEEK_SET)
        found = sniff(os.pread(memory, HEAD, 0), complete=True)
        return found if isinstance(found, ContainerLayout) else ContainerLayout("wav")

    def _line(self, layout: ContainerLayout, memory: int, form: str, level: str) -> list[str]:
        source, descriptor = self._ffmpeg.source(memory)
        return command.decode(
            self._ffmpeg.path, layout, form=form, source=source, descriptor=descriptor, level=level
        )

    async def probe(self, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """Codec, rate in Hz, channels and duration in seconds of a file, which is decoded completely.

        Raises
        ------
        InvalidAudioError, TooBigError

        """
        size = 0
        async with self._decoding(body, "s16le", level="info") as process:
            while data := await process.read():
                size += len(data)
                process.progressed(size / BYTES_PER_SAMPLE / SAMPLE_RATE)
            await process.wait()
        if process.found is None or size == 0:
            raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")
        layout = process.found["layout"].strip()
        counted = re.match(r"(\d+) channels?", layout)
        return {
            "codec": process.found["codec"],
            "sample_rate": int(process.found["rate"]),
            "channels": int(counted[1]) if counted else _CHANNELS.get(layout.split("(")[0], 0),
            "layout": layout,
            "duration": round(size / BYTES_PER_SAMPLE / SAMPLE_RATE, 3),
        }

    async def convert(self, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """A file as a 16 kHz mono WAV, in pieces; the first has the header and the first samples.

        The generator owns an FFmpeg process: close it (`contextlib.aclosing`).

        Raises
        ------
        InvalidAudioError
            before the first piece if nothing can be decoded. A file that's damaged further on gives the
            audio before the damage.

        """
        head, sent = b"", 0
        async with self._decoding(body, "wav") as process:
            while data := await process.read():
                if not sent:
                    head += data
                    if not _has_samples(head):
                        continue
                    data = head
                sent += len(data)
                process.progressed(sent / BYTES_PER_SAMPLE / SAMPLE_RATE)
                yield data
            await process.wait()
            if not sent:
                raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")


def _has_samples(head: bytes) -> bool:
    """Whether the first bytes of a WAV by FFmpeg have samples behind the header."""
    layout = sniff(head, complete=False)
    return isinstance(layout, PcmLayout) and len(head) > layout.skip
