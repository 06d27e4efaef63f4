"""Real speech in-process: sentences that go on across pauses, chunks of files, and subtitles of results."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from parlando import vad
from parlando.domain.audio import to_float
from parlando.domain.cues import cues_of
from parlando.domain.job_options import JobOptions
from parlando.domain.transcript import bare, unbroken
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from support.cues import violations
from support.in_process import recognise
from support.jobs_in_process import planned, transcribed
from support.models import whisper_tiny_en
from support.speech import JFK, clips, load
from transcriber.engines.base import Window
from transcriber.engines.faster_whisper import FasterWhisperEngine
from transcriber.engines.moonshine import MoonshineEngine

S = 16_000
BEFORE_ASK = int(2.9 * S)  # in jfk.flac: "fellow Americans" has ended, "ask not" hasn't begun
BEFORE_WHAT = int(5.4 * S)  # in jfk.flac: "ask not" has ended, "what your country" hasn't begun


@pytest.fixture(scope="module")
def engine():
    return MoonshineEngine(ModelStore().path(MOONSHINE_TINY))


@pytest.fixture(scope="module")
def whisper():
    return FasterWhisperEngine(str(whisper_tiny_en()), device="cpu")


@pytest.fixture(scope="module")
def detector():
    return vad.load("silero")


def test_the_decoder_writes_the_rest_of_a_sentence_with_a_small_letter(engine):
    """The words and the full stop before are given, and the audio behind them tells that it is wrong."""
    pcm = to_float(load(JFK))[: int(7.8 * S)]
    before = engine.transcribe([Window(pcm[:BEFORE_WHAT], final=True)])[0].words
    before = (*before[:-1], _with_full_stop(engine, before[-1]))
    window = Window(pcm, context=before, context_samples=BEFORE_WHAT, final=True, redecode=False, words=True)
    [new] = engine.transcribe([window])
    assert new.goes_on is None
    [ongoing] = engine.transcribe([replace(window, tells_sentence=True)])
    assert ongoing.goes_on is True
    assert ongoing.words[0].text == "what"
    assert [bare(word.text) for word in ongoing.words] == [bare(word.text) for word in new.words]
    assert all(word.start is not None for word in ongoing.words)


def _with_full_stop(engine, word):
    stop = engine._vocabulary.full_stop
    bare_tokens = [token for token in word.tokens if token not in engine._vocabulary.ends_sentence]
    return replace(word, text=bare(word.text) + ".", tokens=(*bare_tokens, stop))


def test_whisper_writes_the_rest_of_a_sentence_with_a_small_letter_and_changes_no_word(whisper):
    pcm = to_float(load(JFK))[: int(5.4 * S)]
    [before] = whisper.transcribe([Window(pcm[:BEFORE_ASK], final=True)])
    assert before.text.endswith(".")
    window = Window(pcm, context=before.words, context_samples=BEFORE_ASK, final=True, words=True)
    [new] = whisper.transcribe([window])
    [alone] = whisper.transcribe([Window(pcm[BEFORE_ASK:], final=True, words=True)])
    assert new == alone, "without a reason to tell, the context changes nothing"
    [ongoing] = whisper.transcribe([replace(window, tells_sentence=True)])
    assert (new.words[0].text, ongoing.words[0].text) == ("Ask", "ask")
    assert (new.goes_on, ongoing.goes_on) == (None, True)
    assert ongoing.words[1:] == new.words[1:]
    assert (ongoing.words[0].start, ongoing.words[0].end) == (new.words[0].start, new.words[0].end)


async def test_a_live_sentence_of_whisper_goes_on_behind_a_pause(whisper, detector):
    found = await recognise(np.r_[load(JFK), np.zeros(S, np.int16)], whisper, detector, frame_ms=100)
    assert any(text.startswith("ask not") for text in found.finals), found.finals


async def test_a_live_sentence_goes_on_behind_a_pause(engine, detector):
    found = await recognise(np.r_[load(JFK), np.zeros(S, np.int16)], engine, detector, frame_ms=100)
    assert any(text.startswith("what your country") for text in found.finals), found.finals


def test_a_file_is_cut_at_its_longest_pauses(detector):
    """No seam lies in a shorter pause than one that the engine's window would have allowed."""
    read = [load(clip.path) for clip in clips("a_english_read")][:12]
    chunks = planned(np.concatenate(read), detector)
    assert len(chunks) > 1
    for chunk, after in pairwise(chunks):
        seam = after.speech[0][0] - chunk.speech[-1][1]
        later = [b[0] - a[1] for a, b in pairwise(chunk.speech) if a[1] >= chunk.start + 28 * S // 3]
        assert seam >= max(later, default=0)


def test_subtitles_of_real_results_break_no_rule(engine, detector):
    """`python -m bench.cues` checks the whole collection."""
    cues = 0
    for clip in [*clips("b_long", language="en")[:1], *clips("a_english_read")[:8]]:
        segments = transcribed(engine, load(clip.path), detector, JobOptions(words=True))
        found = cues_of(unbroken(segments))
        assert violations(found) == [], clip.name
        cues += len(found)
    assert cues > 10
