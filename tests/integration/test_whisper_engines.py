"""What is particular to Whisper: contexts, attempts, batches with prompts, languages, times of words."""

import json
import math
from difflib import SequenceMatcher
from types import SimpleNamespace

import jiwer
import numpy as np
import pytest

from parlando.domain.audio import SAMPLE_RATE, to_float
from parlando.domain.transcript import bare
from support.models import whisper_base, whisper_tiny_en
from support.speech import FIXTURES, MICRO, load
from transcriber.engines import faster_whisper
from transcriber.engines.base import Window
from transcriber.engines.faster_whisper import FasterWhisperEngine
from transcriber.engines.registry import load as load_engine
from transcriber.engines.whisper_attempts import FULL, TEMPERATURES, Attempt
from transcriber.settings import TranscriberSettings

SPEECH = FIXTURES / "speech"
CLIPS = ("1688-142285-0001.flac", "2609-156975-0001.flac", "3080-5032-0003.flac", "61-70968-0000.flac")


def _samples(name):
    return to_float(load(SPEECH / name))


def _bare(line):
    return " ".join(bare(word) for word in line.split())


@pytest.fixture(scope="module")
def tiny():
    return FasterWhisperEngine(str(whisper_tiny_en()), device="cpu")


def _frames_encoded(engine, monkeypatch):
    """The lengths of the log-mels that the engine encodes from now on, in frames of 10 ms."""
    frames, encode = [], engine._encode
    monkeypatch.setattr(
        engine, "_encode", lambda mels: frames.extend(m.shape[-1] for m in mels) or encode(mels)
    )
    return frames


@pytest.mark.parametrize("final", [False, True])
def test_only_the_speech_is_encoded(tiny, final, monkeypatch):
    frames = _frames_encoded(tiny, monkeypatch)
    for name in CLIPS:
        samples = _samples(name)
        tiny.transcribe([Window(samples, final=final)])
        speech = len(samples) / SAMPLE_RATE * 100
        assert speech <= frames.pop() <= speech + 70
        assert not frames


def test_an_implausible_final_is_decoded_again_in_the_full_context(tiny, monkeypatch):
    frames = _frames_encoded(tiny, monkeypatch)
    monkeypatch.setattr(faster_whisper, "is_plausible", lambda text, logprob: False)
    samples = _samples(CLIPS[0])
    [hypothesis] = tiny.transcribe([Window(samples, final=True)])
    assert len(frames) == 2, "the states of the full context are encoded once for all its attempts"
    assert frames[1] == 3000
    assert hypothesis.words, "if no attempt is plausible, the best one counts"

    frames.clear()
    tiny.transcribe([Window(samples, final=True, redecode=False), Window(samples)])
    assert 3000 not in frames


def _decodes(engine, monkeypatch) -> list:
    """The decodes among which `engine` chooses, as it makes them."""
    decodes, choose = [], engine._choose

    def note(job, decode):
        decodes.append(decode)
        return choose(job, decode)

    monkeypatch.setattr(engine, "_choose", note)
    return decodes


def test_the_best_of_the_attempts_counts_if_none_is_plausible(monkeypatch):
    engine = FasterWhisperEngine(str(whisper_base()), device="cpu")
    decodes = _decodes(engine, monkeypatch)
    monkeypatch.setattr(faster_whisper, "is_plausible", lambda text, logprob: False)
    # Whisper base isn't sure of this translation. At high temperatures it says anything.
    window = Window(_samples("multilingual/de.flac"), final=True, language="de", task="translate")
    [hypothesis] = engine.transcribe([window])

    assert len(decodes) == 2 + len(TEMPERATURES)
    best = max(decodes, key=lambda decode: decode.logprob)
    assert (hypothesis.text, hypothesis.confidence) == (best.text, round(math.exp(best.logprob), 4))


def test_the_best_of_openai_whispers_decodes_counts_if_none_is_plausible(micro_checkpoint, monkeypatch):
    from transcriber.engines.whisper import TEMPERATURES, WhisperEngine

    texts = iter(
        [("first", -2.0), ("best", -1.5), *[("worse", -3.0 - n) for n in range(len(TEMPERATURES) - 1)]]
    )

    def decode(features, options, *, temperature):
        text, logprob = next(texts)
        return [SimpleNamespace(text=text, avg_logprob=logprob, no_speech_prob=0.0, tokens=[])]

    engine = WhisperEngine(str(micro_checkpoint), device="cpu")
    monkeypatch.setattr(engine, "_decode", decode)
    [hypothesis] = engine.transcribe([Window(_samples(CLIPS[0]), final=True)])
    assert next(texts, None) is None
    assert (hypothesis.text, hypothesis.confidence) == ("best", round(math.exp(-1.5), 4))


def test_an_empty_text_that_was_sampled_does_not_win(tiny, monkeypatch):
    decodes = _decodes(tiny, monkeypatch)
    monkeypatch.setattr(faster_whisper, "is_plausible", lambda text, logprob: logprob > -0.001)
    generate = tiny._model.generate

    def empty_at_a_temperature(*args, **options):
        results = generate(*args, **options)
        if "sampling_temperature" not in options:
            return results
        empty = {"sequences_ids": [[]], "scores": [0.0], "no_speech_prob": results[0].no_speech_prob}
        return [SimpleNamespace(**empty) for _ in results]

    monkeypatch.setattr(
        tiny,
        "_model",
        SimpleNamespace(generate=empty_at_a_temperature, encode=tiny._model.encode, device="cpu"),
    )
    [hypothesis] = tiny.transcribe([Window(_samples(CLIPS[0]), final=True)])

    assert [not decode.text for decode in decodes] == [False, False] + [True] * len(TEMPERATURES)
    assert hypothesis.text in [decode.text for decode in decodes[:2]]


def test_a_final_that_repeats_itself_in_a_short_context_is_decoded_once_more(tiny, monkeypatch):
    frames = _frames_encoded(tiny, monkeypatch)
    monkeypatch.setattr(faster_whisper, "repeats_phrase", lambda words: True)
    [hypothesis] = tiny.transcribe([Window(_samples(CLIPS[0]), final=True)])
    assert [count == 3000 for count in frames] == [False, True]
    assert hypothesis.words, "the text in the full context counts, even if it repeats a phrase, too"


def test_texts_with_states_of_silence_are_those_of_the_full_context(tiny, monkeypatch):
    windows = [Window(_samples(name), final=True) for name in CLIPS]
    short = tiny.transcribe(windows)
    full = [Attempt(FULL, beam=5)]
    monkeypatch.setattr(faster_whisper, "attempts", lambda window: iter(full))
    whole = tiny.transcribe(windows)

    assert jiwer.wer([_bare(h.text) for h in whole], [_bare(h.text) for h in short]) < 0.1


def test_windows_of_a_batch_keep_their_own_prompts_and_lengths(tiny):
    windows = [
        Window(_samples(name), final=final, words=final, prompt=prompt, hotwords=hotwords)
        for name in CLIPS
        for final in (True, False)
        for prompt, hotwords in (("", ""), ("The captain spoke.", ""), ("", "Hale, Thornton"))
    ]
    together = tiny.transcribe(windows)
    alone = [tiny.transcribe([window])[0] for window in windows]

    assert [h.text for h in together] == [h.text for h in alone]
    times = [[(word.start, word.end) for word in h.words] for h in together]
    assert times == [[(word.start, word.end) for word in h.words] for h in alone]


@pytest.mark.parametrize("option", ["hotwords", "prompt"])
def test_rare_names_are_recognised_where_they_are_announced(tiny, option):
    """Whatever the other windows of the batch announce."""
    samples = _samples("533-1066-0002.flac")
    announced, plain, other = tiny.transcribe(
        [Window(samples, final=True, **{option: names}) for names in ("Liddy, Jamieson", "", "Hale, Nathan")]
    )

    assert {"Liddy", "Jamieson"} <= set(announced.text.replace(",", "").split())
    for hypothesis in (plain, other):
        assert not {"Liddy", "Jamieson"} & set(hypothesis.text.replace(",", "").split())


def test_partials_have_probabilities_of_words(tiny):
    [hypothesis] = tiny.transcribe([Window(_samples(CLIPS[0]))])
    probabilities = [word.probability for word in hypothesis.words]

    assert all(0 < p <= 1 for p in probabilities)
    assert np.median(probabilities) > 0.7


@pytest.mark.parametrize("name", ["moonshine", "tiny.en", "base"])
def test_words_begin_and_end_within_100_ms_of_a_forced_alignment(name, tiny):
    """The alignments are those of pocketsphinx 5.1.1 with its English model; the median counts."""
    if name == "moonshine":
        engine, _ = load_engine(TranscriberSettings(stt_engine="moonshine"))
    else:
        engine = tiny if name == "tiny.en" else FasterWhisperEngine(str(whisper_base()), device="cpu")
    starts, ends = [], []
    for clip, aligned in json.loads((SPEECH / "alignments.json").read_text()).items():
        samples = _samples(clip)
        window = Window(samples, language="en", final=True, words=True, voiced_s=len(samples) / SAMPLE_RATE)
        words = engine.transcribe([window])[0].words
        same = SequenceMatcher(
            None, [bare(word.text) for word in words], [word for word, _, _ in aligned], autojunk=False
        )
        for ours, theirs, count in same.get_matching_blocks():
            for word, (_, start, end) in zip(
                words[ours : ours + count], aligned[theirs : theirs + count], strict=True
            ):
                starts.append(abs(word.start - start))
                ends.append(abs(word.end - end))
    assert len(starts) > 60
    assert np.median(starts) <= 0.1
    assert np.median(ends) <= 0.1


def test_the_torch_engine_hears_partials_in_a_context_of_their_own_length(micro_checkpoint, monkeypatch):
    engine, _ = load_engine(TranscriberSettings(stt_engine="whisper", whisper_model=str(micro_checkpoint)))
    contexts, encode = [], engine._encode
    monkeypatch.setattr(engine, "_encode", lambda mel: contexts.append(mel.shape[-1]) or encode(mel))
    spoken = [to_float(load(MICRO / f"0{number}.flac")) for number in range(4)]

    partials = engine.transcribe([Window(samples) for samples in spoken])
    assert set(contexts) == {500}, "less than four seconds, and one of silence"
    contexts.clear()
    finals = engine.transcribe([Window(samples, final=True) for samples in spoken])
    assert set(contexts) == {3000}
    assert jiwer.wer([_bare(f.text) for f in finals], [_bare(p.text) or "nothing" for p in partials]) < 0.2

    contexts.clear()
    monkeypatch.setattr(f"{type(engine).__module__}.is_plausible", lambda text, logprob: False)
    engine.transcribe([Window(spoken[0])])
    assert contexts == [500, 3000], "what isn't plausible is decoded in the full context"
