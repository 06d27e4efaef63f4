"""A worker may die at any write: the next one goes on as if nothing had happened."""

import numpy as np
import pytest

from parlando import vad
from support.in_process import recognise, with_takeovers
from support.perfect import PerfectEngine, script, silence, speak
from support.speech import fixture
from transcriber.engines.registry import load
from transcriber.settings import TranscriberSettings


@pytest.mark.parametrize("every", [2, 3, 5, 7])
async def test_a_perfect_recogniser_loses_and_doubles_nothing(every):
    pcm = np.concatenate([np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(4)])
    detector = vad.load("rms")

    session_log = await with_takeovers(pcm, PerfectEngine(), detector, every=every)

    assert session_log.text.split() == script(0, 36)
    assert session_log.finals == (await recognise(pcm, PerfectEngine(), detector)).finals


@pytest.mark.parametrize("every", [2, 3, 7])
async def test_moonshine_says_the_same_to_the_letter(every):
    pcm = fixture("two_cities.flac")[: 20 * 16_000]
    engine, detector = load(TranscriberSettings(stt_engine="moonshine"))[0], vad.load("silero")

    session_log = await with_takeovers(pcm, engine, detector, every=every, words=True)
    undisturbed = await recognise(pcm, engine, detector, words=True)

    def said(some):
        return [(e["text"], e["words"], e["start"], e["end"]) for e in some.events if e["type"] == "final"]

    assert said(session_log) == said(undisturbed)
