"""Live finals are as good as the engine is on the whole clip, whatever the frame size.

Partials are decoded at fixed samples (`PARTIAL_CADENCE`), so the finals don't depend on the machine's load.
`bench.accuracy` measures the adaptive interval.
"""

import asyncio

import jiwer
import pytest
from whisper.normalizers import EnglishTextNormalizer

from parlando.domain.audio import to_float
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from support.cluster import Cluster
from support.speech import clips, load
from support.streaming import Heard, check_promises, stream
from transcriber.engines.base import Window
from transcriber.engines.moonshine import MoonshineEngine

CONCURRENCY = 4
SPEED = 2  # times real time
WINDOW = 28 * 16_000  # samples that the engine takes at once
normal = EnglishTextNormalizer()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, PARTIAL_CADENCE="fixed") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def whole_clip():
    """Clip → what Moonshine says of all of it at once, decoded naively."""
    engine = MoonshineEngine(ModelStore().path(MOONSHINE_TINY))

    def transcribe(clip):
        samples = to_float(load(clip.path))
        parts = [samples[at : at + WINDOW] for at in range(0, len(samples), WINDOW)]
        return " ".join(engine.transcribe([Window(part, redecode=False)])[0].text for part in parts)

    return transcribe


async def _all(cluster, spoken, frame_ms) -> list[Heard]:
    room = asyncio.Semaphore(CONCURRENCY)

    async def one(clip) -> Heard:
        async with room:
            return await stream(cluster.url(), load(clip.path), frame_ms=frame_ms, speed=SPEED)

    heard = await asyncio.gather(*(one(clip) for clip in spoken))
    for session in heard:
        check_promises(session)
    return heard


def _rate(spoken, texts) -> float:
    return 100 * jiwer.wer([normal(clip.text) for clip in spoken], [normal(text) for text in texts])


@pytest.mark.parametrize(("category", "frame_sizes"), [("a_english_read", (20, 1000)), ("b_long", (100,))])
async def test_live_finals_are_as_good_as_the_whole_clip(cluster, whole_clip, category, frame_sizes):
    """Each frame size has its share of the clips."""
    spoken = clips(category, language="en") or clips("a_english_read", language="en")
    offline = _rate(spoken, [whole_clip(clip) for clip in spoken])

    heard = []

    for number, frame_ms in enumerate(frame_sizes):
        heard += await _all(cluster, spoken[number :: len(frame_sizes)], frame_ms)
    spoken = [clip for number in range(len(frame_sizes)) for clip in spoken[number :: len(frame_sizes)]]
    live = _rate(spoken, [session.text for session in heard])

    assert [clip.name for clip, session in zip(spoken, heard, strict=True) if not session.text] == []
    print(f"\n{category}: live {live:.2f} %, whole clip {offline:.2f} %; the bar is +0.5 points")
    assert live <= offline + 0.5
