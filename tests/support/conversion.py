"""Sessions written directly to Redis, and the PCM that the audio-processors make of them."""

import asyncio
from contextlib import suppress

import numpy as np
import psutil

from parlando.domain.commands import End
from parlando.domain.formats import AudioFormat
from parlando.errors import SessionClosedError
from parlando.store.sessions import Sessions
from support.encoding import RECIPES
from support.pools import PLACE

PIECE = 2000  # bytes


class Converted:
    """The PCM and the controls in a converted stream."""

    def __init__(self, entries) -> None:
        self.pcm = b"".join(fields[b"p"] for _, fields in entries if b"p" in fields)
        self.controls = [fields[b"c"].decode() for _, fields in entries if b"c" in fields]

    @property
    def samples(self) -> np.ndarray:
        return np.frombuffer(self.pcm, "<i2")


class Stream:
    """One session, written directly to Redis."""

    def __init__(self, redis, sid: str, form: AudioFormat) -> None:
        self.redis, self.sid, self.form = redis, sid, form
        self.sessions = Sessions(redis, partitions=1, ttl_s=300)
        self.keys = self.sessions.keys(sid)

    async def send(self, data: bytes, *, piece: int = PIECE, over_s: float = 0.0) -> None:
        self.writer = await self.sessions.open(self.sid, places=[PLACE], config={}, token="t", form=self.form)
        with suppress(SessionClosedError):  # a refused format ends the session
            for start in range(0, len(data), piece):
                await self.writer.append(data[start : start + piece], 1 << 30)
                await asyncio.sleep(over_s * piece / max(1, len(data)))

    async def finish(self) -> Converted:
        with suppress(SessionClosedError):
            await self.writer.command(End())
        return await self.result()

    async def result(self) -> Converted:
        async with asyncio.timeout(600):
            while await self.redis.hget(self.keys.session, "intake_entry"):
                await asyncio.sleep(0.01)
        return Converted(await self.redis.xrange(self.keys.pcm))


def form_of(name: str) -> AudioFormat:
    return AudioFormat(**dict(RECIPES[name].query))


async def convert(redis, sid: str, data: bytes, form: AudioFormat, **how) -> Converted:
    stream = Stream(redis, sid, form)
    await stream.send(data, **how)
    return await stream.finish()


def ffmpegs() -> list[psutil.Process]:
    """The FFmpeg processes that this test's audio-processors run."""
    return [child for child in psutil.Process().children(recursive=True) if "ffmpeg" in child.name()]
