"""Files uploaded over HTTP: their properties, and their audio as 16 kHz mono.

An upload is received completely, because many clients read no answer before they have sent everything. It is
held in memory, because audio is never written to disk. The decoded audio is streamed.
"""

import asyncio
import os
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from audio_processor.ffmpeg import Ffmpeg
from audio_processor.recording import Recording
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.errors import InvalidAudioError, TooBigError

CONCURRENCY: Final = 4  # uploads held in memory; further requests wait
_ENDLESS: Final = 0xFFFFFFFF  # the sizes in a WAV header that is written before the samples are known
WAV_HEAD: Final = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", _ENDLESS, b"WAVE", b"fmt ", 16, 1, 1),
    *(SAMPLE_RATE, SAMPLE_RATE * BYTES_PER_SAMPLE, BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE, b"data", _ENDLESS),
)
"""The header of 16 kHz mono s16le, whose length is unknown."""


class Files:
    """Decodes uploads of at most `limit` bytes, `CONCURRENCY` at a time."""

    def __init__(self, ffmpeg: Ffmpeg, limit: int) -> None:
        self._ffmpeg = ffmpeg
        self._limit = limit
        self._room = asyncio.Semaphore(CONCURRENCY)

    @asynccontextmanager
    async def _received(self, body: AsyncIterator[bytes]) -> AsyncGenerator[Recording]:
        """The upload, when it is complete."""
        async with self._room:
            memory = os.memfd_create("audio")
            try:
                await self._receive(memory, body)
                yield Recording(self._ffmpeg, memory, split=False)
            finally:
                os.close(memory)

    async def _receive(self, memory: int, body: AsyncIterator[bytes]) -> None:
        size = 0
        async for part in body:
            size += len(part)
            if size > self._limit:
                raise TooBigError(f"Expected a file of at most {self._limit >> 20} MB")
            os.write(memory, part)
        if not size:
            raise InvalidAudioError("Expected an audio file, but no bytes came")

    async def probe(self, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """Codec, rate in Hz, channels and duration in seconds of a file, which is decoded completely.

        Raises
        ------
        InvalidAudioError, TooBigError

        """
        async with self._received(body) as recording, aclosing(recording.pcm()) as blocks:
            async for _ in blocks:
                pass
        track = recording.selected
        if track is None:
            raise InvalidAudioError("The file can't be decoded: no audio was found in it")
        return {
            "codec": track.codec,
            "sample_rate": track.rate,
            "channels": track.channels,
            "layout": track.layout,
            "duration": round(recording.samples / SAMPLE_RATE, 3),
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
        head = WAV_HEAD
        async with self._received(body) as recording, aclosing(recording.pcm()) as blocks:
            async for block in blocks:
                if len(block):
                    yield head + block.astype("<i2").tobytes()
                    head = b""
