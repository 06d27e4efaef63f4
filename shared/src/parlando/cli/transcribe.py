"""`parlando transcribe FILE`: a file through the live path, with the text as it settles."""

import asyncio
import time
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from rich.console import Console
from rich.live import Live
from rich.text import Text

from parlando.audio import SAMPLE_RATE, Pcm16
from parlando.client import ClientError, ClientSession, connect
from parlando.errors import InvalidAudioError, ParlandoError

FRAME: Final = SAMPLE_RATE // 25  # samples sent at a time: 40 ms
FAST_FRAME: Final = SAMPLE_RATE // 2


def load(file: Path) -> Pcm16:
    """The samples of a 16 kHz mono WAV or FLAC. Raises `InvalidAudioError` for anything else."""
    try:
        samples, rate = soundfile.read(file, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InvalidAudioError(f"Expected a WAV or FLAC file, but {file} can't be read: {error}") from error
    if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise InvalidAudioError(
            f"Expected {SAMPLE_RATE} Hz and 1 channel, but {file} has {rate} Hz and {samples.shape[1]}; "
            f"convert it: ffmpeg -i {file.name} -ac 1 -ar {SAMPLE_RATE} out.wav"
        )
    pcm: Pcm16 = np.ascontiguousarray(samples[:, 0])
    return pcm


async def _send(session: ClientSession, pcm: Pcm16, *, fast: bool) -> None:
    step = FAST_FRAME if fast else FRAME
    started = time.monotonic()
    for at in range(0, len(pcm), step):
        await session.send(pcm[at : at + step].tobytes())
        if not fast:
            await asyncio.sleep(max(0.0, started + (at + step) / SAMPLE_RATE - time.monotonic()))
    await session.end()


async def run(
    file: Path, *, url: str, key: str | None, fast: bool, language: str | None, prompt: str
) -> None:
    """Stream the file and print finals as lines; on a terminal the open segment shows below them."""
    pcm = load(file)
    console = Console()
    socket_url = url.replace("http", "ws", 1)
    try:
        async with connect(
            socket_url, api_key=key, give_up_s=10, language=language, prompt=prompt or None
        ) as session:
            sending = asyncio.create_task(_send(session, pcm, fast=fast))
            with Live(console=console, refresh_per_second=20, transient=True) as live:
                async for event in session:
                    if event["type"] == "partial":
                        stable = event["stable"]
                        tail = event["text"].removeprefix(stable)
                        live.update(Text.assemble((stable, "bold"), (tail, "dim italic")))
                    elif event["type"] == "final" and event["text"]:
                        live.update("")
                        console.print(Text(event["text"]), soft_wrap=True)
                    elif event["type"] == "status":
                        console.print(f"[yellow]{event['status']}: {event['ms']} ms ({event['reason']})[/]")
            await sending
    except ClientError as error:
        raise ParlandoError(str(error)) from error
