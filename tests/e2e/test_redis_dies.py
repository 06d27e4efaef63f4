"""SIGKILL of Redis in the middle of live sessions and jobs: what is lost, and that no word of a session is."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from parlando.client import ClientError, JobsClient, connect
from support.cluster import Cluster
from support.perfect import PERFECT, script, silence, speak
from support.redis_server import RedisServer
from support.streaming import RATE, Heard, check_promises

WORDS = 72
SPEED = 4.0
KILLED_AT = 3.0  # seconds after the beginning: in the middle, with finals before and behind


def speech() -> np.ndarray:
    """40 s with a pause behind every nine words, a stretch without any, and seven seconds of silence."""
    parts = [np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(3)]
    parts += [silence(7), speak(27, first=27), silence(0.7)]
    parts += [np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(6, 8)]
    return np.concatenate(parts)


def contained(pcm: np.ndarray, form: str) -> bytes:
    file = BytesIO()
    soundfile.write(file, pcm, RATE, format=form, subtype="PCM_16")
    return file.getvalue()


PCM = speech()
FLOATS = (PCM / np.float32(32768)).astype("<f4")
FORMATS: dict[str, tuple[bytes, dict]] = {
    "s16": (PCM.tobytes(), {}),
    "s16 again": (PCM.tobytes(), {}),
    "s16 with word times": (PCM.tobytes(), {"words": True}),
    "f32": (FLOATS.tobytes(), {"encoding": "pcm_f32le"}),
    "stereo": (np.repeat(PCM, 2).tobytes(), {"channels": 2}),
    "f32 stereo": (np.repeat(FLOATS, 2).tobytes(), {"encoding": "pcm_f32le", "channels": 2}),
    "wav": (contained(PCM, "WAV"), {"encoding": "container"}),
    "flac": (contained(PCM, "FLAC"), {"encoding": "container"}),
}


async def live(cluster: Cluster, name: str) -> Heard:
    """One format's session, in 40 s / SPEED."""
    data, options = FORMATS[name]
    heard, pieces = Heard(), 200
    step = -(-len(data) // pieces)
    step += -step % 8
    async with asyncio.timeout(150), connect(cluster.url(), **options) as session:
        heard.session = session

        async def talk() -> None:
            for at in range(0, len(data), step):
                await session.send(data[at : at + step])
                await asyncio.sleep(len(PCM) / RATE / SPEED / pieces)
            await session.end()

        talking = asyncio.create_task(talk())
        async for event in session:
            heard.events.append(event)
        await talking
    return heard


def told(heard: Heard) -> list[tuple]:
    """What must not change."""
    return [(final["segment"], final["text"], final["start"], final["end"]) for final in heard.finals]


@contextmanager
def cluster_with(redis: RedisServer, **environment: str) -> Iterator[Cluster]:
    with Cluster(redis=redis, transcribers=2, processors=1, **PERFECT, **environment) as cluster:
        yield cluster


async def test_eight_sessions_lose_no_word_and_jobs_are_gone():
    with cluster_with(RedisServer()) as cluster:
        undisturbed = dict(
            zip(FORMATS, await asyncio.gather(*(live(cluster, n) for n in FORMATS)), strict=True)
        )
        running = asyncio.gather(*(live(cluster, name) for name in FORMATS))
        await asyncio.sleep(KILLED_AT)
        cluster.redis.kill()
        cluster.redis.start()
        sessions = dict(zip(FORMATS, await running, strict=True))
        for name, heard in sessions.items():
            print(name, heard.session.resumes, [e for e in heard.events if e["type"] == "connected"][1:])
            check_promises(heard)
            assert heard.words == script(0, WORDS), name
            assert told(heard) == told(undisturbed[name]), name
