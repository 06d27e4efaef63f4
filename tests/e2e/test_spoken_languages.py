"""Real speech in several languages, with Whisper base: detected, locked, translated."""

import jiwer
import numpy as np
import pytest
from whisper.normalizers import BasicTextNormalizer

from parlando.client import JobsClient
from support.cluster import Cluster
from support.jobs import transcribe
from support.models import whisper_base
from support.perfect import silence
from support.speech import FIXTURES, fixture, words
from support.streaming import check_promises, stream

SPEECH = FIXTURES / "speech"
MOST_ERRORS = 0.3  # word error rate of a clip
normal = BasicTextNormalizer()


@pytest.fixture(scope="module")
def cluster():
    model = {"STT_ENGINE": "faster-whisper", "WHISPER_MODEL": str(whisper_base())}
    with Cluster(processors=1, **model) as cluster:
        yield cluster


def clip(code: str) -> str:
    """The file of a language, in the fixtures."""
    return "jfk.flac" if code == "en" else f"multilingual/{code}.flac"


def said(*codes: str) -> np.ndarray:
    """The clips of languages, with a second of silence behind each."""
    return np.concatenate([part for code in codes for part in (fixture(clip(code)), silence(1))])


def is_heard(code: str, text: str) -> bool:
    return jiwer.wer(normal(words(clip(code))), normal(text)) <= MOST_ERRORS


@pytest.mark.parametrize("choice", ["auto", "de,en,fr"])
async def test_a_german_session_with_a_french_end(cluster, choice):
    codes = ("de", "de", "fr")
    heard = await stream(cluster.url(), said(*codes), speed=None, language=choice)

    check_promises(heard)
    finals = [final for final in heard.finals if final["text"]]
    assert [final["language"] for final in finals] == list(codes), heard.text
    assert [is_heard(code, final["text"]) for code, final in zip(codes, finals, strict=True)] == [True] * 3
    first, *_ = heard.of("language")
    assert (first["language"], first["locked"]) == ("de", True)
    assert first["probability"] > 0.6


async def test_a_live_session_is_translated(cluster):
    heard = await stream(cluster.url(), said("pt"), speed=None, task="translate")

    check_promises(heard)
    [final] = [final for final in heard.finals if final["text"]]
    assert final["language"] == "pt"
    assert "group of children" in final["text"]


async def test_a_translation_stands_beside_the_original(cluster):
    heard = await stream(cluster.url(), said("pt", "en"), speed=None, translations="en")

    portuguese, *english = [final for final in heard.finals if final["text"]]
    assert is_heard("pt", portuguese["text"])
    assert "group of children" in portuguese["translations"]["en"]
    assert {final["language"] for final in english} == {"en"}
    assert all("translations" not in final for final in english)


@pytest.mark.parametrize("code", ["en", "de", "fr", "it", "pt"])
async def test_the_language_of_a_file(cluster, code):
    async with JobsClient(cluster.http()) as jobs:
        found = await jobs.detect_language(SPEECH / clip(code))
    assert found["language_code"] == code
    assert found["confidence"] > 0.6


def test_a_job_detects_its_language(cluster):
    result = transcribe(cluster.http(), SPEECH / clip("pt"), translations="en")
    assert result["language"] == "pt"
    assert is_heard("pt", result["text"])
    assert "children" in " ".join(segment["translations"]["en"] for segment in result["segments"])
