"""Real speech as jobs: no more word errors than in whole clips, and live sessions lose none."""

import asyncio
from pathlib import Path

import jiwer
import numpy as np
import pytest
from whisper.normalizers import EnglishTextNormalizer

from parlando.domain.audio import to_float
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from support.cluster import Cluster
from support.jobs import submit, transcribe, wait, wav
from support.perfect import silence
from support.speech import clips, fixture, load, rows, words
from support.streaming import check_promises, stream
from transcriber.engines.base import Window
from transcriber.engines.moonshine import MoonshineEngine

WORDS = words("jfk.flac")
normal = EnglishTextNormalizer()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def engine():
    return MoonshineEngine(ModelStore().path(MOONSHINE_TINY))


def _rate(texts: list[str], heard: list[str]) -> float:
    return 100 * jiwer.wer([normal(t) for t in texts], [normal(h) or "nothing" for h in heard])


async def _all(base: str, files: list[Path], **fields: str) -> list[dict]:
    return await asyncio.gather(*(asyncio.to_thread(transcribe, base, file, **fields) for file in files))


async def _compare(cluster, engine, spoken: list[tuple[Path, str]]) -> float:
    """Word errors of files as jobs minus those of the engine on the whole clips, in points."""
    heard = await _all(cluster.http(), [path for path, _ in spoken])
    pcm = [to_float(load(path)) for path, _ in spoken]
    whole = [engine.transcribe([Window(x, final=True, voiced_s=len(x) / 16_000)])[0].text for x in pcm]
    texts = [text for _, text in spoken]
    got, bar = _rate(texts, [result["text"] for result in heard]), _rate(texts, whole)
    print(f"word errors of {len(spoken)} files: {got:.2f} % as jobs, {bar:.2f} % as whole clips")
    return got - bar


async def test_words_are_those_that_the_engine_hears_of_whole_clips(cluster, engine):
    spoken = [(clip.path, clip.text) for clip in clips("a_english_read")]
    assert await _compare(cluster, engine, spoken) <= (0.5 if len(spoken) >= 60 else 2.0)


async def test_every_container_has_its_words(cluster, engine):
    spoken = [
        (path, row["text"])
        for path, row in rows("e_containers")
        if row.get("decodes", True) and not row.get("raw") and row.get("language") == "en" and row.get("text")
    ]
    assert len(spoken) >= 2
    assert await _compare(cluster, engine, spoken) <= 2.0


async def test_a_live_session_says_all_its_words_beside_a_long_job(cluster):
    """The job keeps both workers busy; how late finals come then is measured by bench/long_file.py."""
    base = cluster.http()
    long = np.concatenate([np.concatenate([fixture("two_cities.flac"), silence(1)]) for _ in range(12)])
    job = submit(base, wav(long))["job_id"]
    heard = await stream(cluster.url(), fixture("jfk.flac"), frame_ms=20)
    check_promises(heard)
    assert normal(heard.text) == WORDS
    assert wait(base, job)["status"] == "completed"
