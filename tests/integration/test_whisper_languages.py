"""Languages of Whisper, on real multilingual weights."""

import json

import jiwer
import pytest

from parlando.domain.audio import to_float
from parlando.domain.transcript import bare
from support.models import whisper_base
from support.speech import FIXTURES, load
from transcriber.engines.base import Window
from transcriber.engines.faster_whisper import FasterWhisperEngine

SPEECH = FIXTURES / "speech"


def _samples(name):
    return to_float(load(SPEECH / name))


def _bare(line):
    return " ".join(bare(word) for word in line.split())


@pytest.fixture(scope="module")
def base():
    return FasterWhisperEngine(str(whisper_base()), device="cpu")


def _multilingual():
    rows = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    return [(row["file"], row["language"], row["text"]) for row in rows if "multilingual/" in row["file"]]


def test_a_model_has_the_languages_of_its_tokens(base):
    assert len(base.info.languages) == 99
    assert "yue" not in base.info.languages, "it came with large-v3"


def test_languages_are_detected_in_batch(base):
    clips = _multilingual()
    windows = [Window(_samples(file), final=True) for file, _, _ in clips]
    hypotheses = base.transcribe(windows)

    assert [h.language for h in hypotheses] == [language for _, language, _ in clips]
    assert all(h.language_probability > 0.5 for h in hypotheses)
    detected = base.transcribe([Window(w.samples, task="detect_language") for w in windows])
    assert [h.language for h in detected] == [language for _, language, _ in clips]
    assert not any(h.words for h in detected)


def test_a_language_is_detected_among_those_allowed(base):
    file, language, _ = next(clip for clip in _multilingual() if clip[1] == "de")
    samples = _samples(file)

    [free] = base.transcribe([Window(samples)])
    [bound] = base.transcribe([Window(samples, languages=("nl", "en"))])
    [given] = base.transcribe([Window(samples, language="de")])
    assert free.language == language
    assert bound.language in ("nl", "en")
    assert bound.language_probability >= 0.5, "relative to the languages that are allowed"
    assert given.language == "de"
    assert given.language_probability is None


def test_a_translation_is_english(base):
    file, _, text = next(clip for clip in _multilingual() if clip[1] == "de")
    [hypothesis] = base.transcribe([Window(_samples(file), language="de", task="translate", final=True)])

    assert hypothesis.words
    assert jiwer.wer(_bare(text), _bare(hypothesis.text)) > 0.5
