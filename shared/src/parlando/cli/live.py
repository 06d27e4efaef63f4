"""`parlando live FILE`: a file through the live path, with the text as it settles."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import soundfile

from parlando.cli.captions import Captions
from parlando.client import ClientSession, connect
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.tasks import end

CONNECT_S: Final = 10.0  # until there must be a first connection
FRAME_S: Final = 0.04  # of audio sent at a time
FAST_BYTES: Final = 16_000  # … or so many bytes, as fast as it goes


@dataclass(frozen=True, slots=True)
class LocalFile:
    """What is sent: its bytes, how many of them are a second (None if nobody can tell), in which format."""

    data: bytes
    second: float | None
    query: dict[str, Any]


def load(file: Path) -> LocalFile:
    """A file as it's sent: 16 kHz mono as plain PCM, everything else as it is."""
    try:
        samples, rate = soundfile.read(file, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError:
        return LocalFile(file.read_bytes(), None, {"encoding": "container"})
    if rate == SAMPLE_RATE and samples.shape[1] == 1:
        return LocalFile(samples[:, 0].tobytes(), SAMPLE_RATE * BYTES_PER_SAMPLE, {})
    data = file.read_bytes()
    return LocalFile(data, len(data) * rate / max(1, len(samples)), {"encoding": "container"})


async def _send(session: ClientSession, recording: LocalFile, *, fast: bool) -> None:
    second = None if fast else recording.second
    step = FAST_BYTES if second is None else max(1, int(second * FRAME_S) // 2 * 2)
    started = time.monotonic()
    for at in range(0, len(recording.data), step):
        await session.send(recording.data[at : at + step])
        if second is not None:
            await asyncio.sleep(max(0.0, started + (at + step) / second - time.monotonic()))
    await session.end()


async def run(
    file: Path, *, url: str, key: str | None, fast: bool, language: str | None, prompt: str
) -> None:
    """Stream the file and print finals as lines; on a terminal the open segment shows below them."""
    recording = load(file)
    socket_url = url.replace("http", "ws", 1)
    async with connect(
        socket_url,
        api_key=key,
        connect_s=CONNECT_S,
        language=language,
        prompt=prompt or None,
        **recording.query,
    ) as session:
        sending = asyncio.create_task(_send(session, recording, fast=fast))
        try:
            with Captions() as captions:
                async for event in session:
                    captions.show(event)
        finally:
            await end(sending)
