"""Whole files over HTTP: what they are, and what they sound like as 16 kHz mono."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from typing import Any, Final

from audio_processor import command
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, Layout, sniff
from audio_processor.process import FfmpegProcess
from parlando.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.errors import InvalidAudioError
from parlando.tasks import end

HEAD: Final = 4096  # bytes that tell what a file is
_STREAM: Final = re.compile(r"Stream #\S+ *Audio: (?P<codec>\w+).*?, (?P<rate>\d+) Hz, (?P<layout>[^,]+)")
_NAMED: Final = {
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


class TooBigError(InvalidAudioError):
    """Raised when a file is larger than the limit."""

    code = "too_big"


class File:
    """An upload, read once. It goes through FFmpeg as it comes, but an MP4, which must be seekable: that
    one is held in memory first.
    """

    def __init__(self, ffmpeg: Ffmpeg, body: AsyncIterator[bytes], most: int) -> None:
        self._ffmpeg = ffmpeg
        self._body = self._limited(body, most)
        self._process: FfmpegProcess | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._memory: int | None = None

    async def _limited(self, body: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
        size = 0
        async for part in body:
            size += len(part)
            if size > most:
                raise TooBigError(f"Expected a file of at most {most >> 20} MB")
            yield part

    async def open(self, form: str, *, talkative: bool = False) -> FfmpegProcess:
        """Start decoding into `form` ("s16le" or "wav"); `talkative` has FFmpeg say what the file is."""
        head = b""
        async for part in self._body:
            head += part
            if len(head) >= HEAD:
                break
        if not head:
            raise InvalidAudioError("Expected an audio file, but no bytes came")
        layout = sniff(head, complete=True)
        demuxer = layout.demuxer if isinstance(layout, ContainerLayout) else "wav"
        if demuxer == "mov":
            return await self._open_in_memory(head, form, talkative=talkative)
        line = self._line(ContainerLayout(demuxer), form, talkative)
        self._process = await FfmpegProcess.start(line, watch=_STREAM)
        self._feeding = asyncio.create_task(self._feed(self._process, head))
        return self._process

    def _line(self, layout: Layout, form: str, talkative: bool, **more: Any) -> list[str]:
        line = command.decode(self._ffmpeg.path, layout, form=form, **more)
        return ["info" if part == "error" else part for part in line] if talkative else line

    async def _feed(self, process: FfmpegProcess, head: bytes) -> None:
        try:
            taken = await process.write(head)
            async for part in self._body:
                taken = taken and await process.write(part)
        except BaseException:
            process.stop()
            raise
        process.close_input()

    async def _open_in_memory(self, head: bytes, form: str, *, talkative: bool) -> FfmpegProcess:
        self._memory = file = os.memfd_create("audio")
        os.write(file, head)
        async for part in self._body:
            os.write(file, part)
        os.lseek(file, 0, os.SEEK_SET)
        layout = ContainerLayout("mov")
        line = (
            self._line(layout, form, talkative, source="fd:", descriptor=file)
            if self._ffmpeg.opens_descriptors
            else self._line(layout, form, talkative, source=f"file:/proc/self/fd/{file}")
        )
        self._process = await FfmpegProcess.start(line, descriptors=(file,), watch=_STREAM)
        self._process.close_input()
        return self._process

    async def close(self) -> None:
        """Let everything go; raises what went wrong with the upload."""
        try:
            if self._process is not None:
                await self._process.kill()
            if self._feeding is not None:
                failed = self._feeding.done() and not self._feeding.cancelled()
                if failed and (error := self._feeding.exception()) is not None:
                    raise error
                await end(self._feeding)
        finally:
            if self._memory is not None:
                os.close(self._memory)
                self._memory = None


async def probe(ffmpeg: Ffmpeg, body: AsyncIterator[bytes], most: int) -> dict[str, Any]:
    """Codec, rate in Hz, channels and duration in seconds of a file; it's decoded from end to end.

    Raises
    ------
    InvalidAudioError

    """
    file = File(ffmpeg, body, most)
    size = 0
    try:
        process = await file.open("s16le", talkative=True)
        while data := await process.read():
            size += len(data)
            process.progressed(size / BYTES_PER_SAMPLE / SAMPLE_RATE)
        await process.wait()
    finally:
        await file.close()
    first = process.found
    if first is None or size == 0:
        raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")
    layout = first["layout"].strip()
    counted = re.match(r"(\d+) channels?", layout)
    return {
        "codec": first["codec"],
        "sample_rate": int(first["rate"]),
        "channels": int(counted[1]) if counted else _NAMED.get(layout.split("(")[0], 0),
        "layout": layout,
        "duration": round(size / BYTES_PER_SAMPLE / SAMPLE_RATE, 3),
    }


async def convert(ffmpeg: Ffmpeg, body: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """A file as a 16 kHz mono WAV, piece by piece.

    Raises
    ------
    InvalidAudioError
        before the first piece if nothing can be decoded; later ones just end.

    """
    file = File(ffmpeg, body, most)
    sent = 0
    try:
        process = await file.open("wav")
        while data := await process.read():
            sent += len(data)
            process.progressed(sent / BYTES_PER_SAMPLE / SAMPLE_RATE)
            yield data
        if await process.wait() and sent <= 100:  # a header and nothing behind it
            raise InvalidAudioError(f"The file can't be decoded: {process.reason()}")
    finally:
        await file.close()
