"""`parlando live FILE`: stream a file as live audio and show its captions."""

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

CONNECT_S: Final = 10.0  # time-out of the first connection
FRAME_S: Final = 0.04  # audio per message in real time
FAST_BYTES: Final = 16_000  # bytes per message with --fast


@dataclass(frozen=True, slots=True)
class LocalFile:
    """The audio to send. `second`: bytes per second of audio, None if unknown. `query`: its format."""

    data: bytes
    second: float | None
    query: dict[str, Any]


def load(file: Path) -> LocalFile:
    """Read a file: 16 kHz mono as PCM, every other format unchanged as a container."""
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


def options(
    language: str | None,
    prompt: str,
    hotwords: str,
    *,
    translate: bool,
    speakers: bool = False,
    recognise: bool = False,
) -> dict[str, str | None]:
    """The options of a session from those of the command; None where none is given."""
    return {
        "language": language,
        "prompt": prompt or None,
        "hotwords": hotwords or None,
        "task": "translate" if translate else None,
        "diarize": "true" if speakers or recognise else None,
        "known_speakers": "true" if recognise else None,
    }


async def run(file: Path, *, url: str, key: str | None, fast: bool, options: dict[str, Any]) -> None:
    """Stream the file and print its captions. `options`: of the session. Raises `ClientError`."""
    recording = load(file)
    socket_url = url.replace("http", "ws", 1)
    async with connect(
        socket_url,
        api_key=key,
        connect_s=CONNECT_S,
        **options,
        **recording.query,
    ) as session:
        sending = asyncio.create_task(_send(session, recording, fast=fast))
        try:
            with Captions() as captions:
                async for event in session:
                    captions.show(event)
        finally:
            await end(sending)
