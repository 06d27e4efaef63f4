"""What isn't speech gives no words."""

import asyncio

import numpy as np
import pytest

from support.cluster import Cluster
from support.speech import clips, load
from support.streaming import check_promises, stream

RATE = 16_000


WHISPER = {"STT_ENGINE": "faster-whisper", "WHISPER_MODEL": "tiny.en"}


@pytest.fixture(scope="module", params=[{}, WHISPER], ids=["moonshine", "whisper"])
def cluster(request):
    with Cluster(transcribers=2, **request.param) as cluster:
        yield cluster


async def _hear(cluster, recordings: dict[str, np.ndarray]) -> dict[str, str]:
    room = asyncio.Semaphore(6)

    async def one(pcm: np.ndarray) -> str:
        async with room:
            heard = await stream(cluster.url(), pcm, speed=4, frame_ms=100)
            check_promises(heard)
            return heard.text

    return dict(zip(recordings, await asyncio.gather(*map(one, recordings.values())), strict=True))


async def test_recordings_without_speech_give_no_words(cluster):
    said = await _hear(cluster, {clip.name: load(clip.path) for clip in clips("f_non_speech")})

    assert {name: text for name, text in said.items() if text} == {}


async def test_a_minute_of_silence_or_noise_gives_no_words(cluster):
    noise = np.random.default_rng(3)
    said = await _hear(
        cluster,
        {
            "silence": np.zeros(60 * RATE, np.int16),
            "faint noise": noise.normal(0, 30, 60 * RATE).astype(np.int16),
            "loud noise": noise.normal(0, 3000, 60 * RATE).astype(np.int16),
        },
    )

    assert {name: text for name, text in said.items() if text} == {}


async def test_music_is_reported(cluster):
    """No bar: instrumental music should give nothing, songs may give their words."""
    music = clips("g_music") or clips("f_non_speech")
    said = await _hear(cluster, {clip.name: load(clip.path)[: 45 * RATE] for clip in music})

    for name, text in said.items():
        print(f"\n{name}: {text[:120]!r}")
