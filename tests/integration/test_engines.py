"""One suite for all engines: what the worker relies on, on real speech."""

import json
from dataclasses import replace

import jiwer
import numpy as np
import pytest

from parlando import vad
from parlando.domain.audio import SAMPLE_RATE, to_float
from parlando.domain.transcript import bare
from parlando.errors import EngineError, ModelError
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from support.endpoint import Endpoint, Server
from support.in_process import recognise
from support.speech import FIXTURES, load
from transcriber.engines.base import Window
from transcriber.engines.registry import load as load_engine
from transcriber.settings import TranscriberSettings


@pytest.fixture(scope="session")
def openai_server():
    """Starts an OpenAI-compatible server around an engine."""
    servers = []

    def start(engine) -> Server:
        servers.append(Server(Endpoint(engine)))
        return servers[-1]

    yield start
    for server in servers:
        server.server.shutdown()


@pytest.fixture(scope="session", params=["moonshine", "whisper", "faster-whisper", "openai"])
def engine(request):
    match request.param:
        case "openai":
            served_engine = load_engine(TranscriberSettings(stt_engine="moonshine"))[0]
            server = request.getfixturevalue("openai_server")(served_engine)
            settings = {"openai_base_url": f"{server.url}/v1", "openai_api_key": "k"}
            return load_engine(TranscriberSettings(stt_engine="openai", **settings))[0]
        case "moonshine":
            ModelStore().pull(MOONSHINE_TINY)
            model = None
        case "whisper" | "faster-whisper":
            model = "tiny.en"
    return load_engine(TranscriberSettings(stt_engine=request.param, whisper_model=model))[0]


@pytest.fixture
def spoken(engine):
    """(samples, text) of recordings in English: four of them for `whisper`, which needs seconds for each."""
    folder = FIXTURES / "speech"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    found = [
        (to_float(load(folder / row["file"])), row["text"])
        for row in rows
        if row["text"] and row["duration_s"] < 14 and "/" not in row["file"]
    ]
    return found[:4] if engine.info.name == "whisper" else found


def _bare(line: str) -> str:
    return " ".join(bare(word) for word in line.split())


def test_it_recognises_speech(engine, spoken):
    heard = [engine.transcribe([Window(x, final=True, voiced_s=len(x) / SAMPLE_RATE)])[0] for x, _ in spoken]

    rate = jiwer.wer([_bare(text) for _, text in spoken], [_bare(h.text) or "nothing" for h in heard])
    print(
        f"\n{engine.info.name} {engine.info.model}: word error rate {100 * rate:.1f} % of {len(spoken)} clips"
    )
    assert rate < 0.2
    assert all(0 < h.confidence <= 1 for h in heard)
    assert {h.language for h in heard} == {"en"}


def test_case_6_a_batch_gives_what_single_windows_give(engine, spoken):
    windows = [Window(x, final=True, voiced_s=1.0, redecode=False) for x, _ in spoken]

    assert [h.text for h in engine.transcribe(windows)] == [engine.transcribe([w])[0].text for w in windows]


def test_improving_a_final_call_by_call_gives_what_one_call_gives(engine, spoken):
    if not engine.info.improves:
        pytest.skip("this engine decodes a final in one call")
    improved = 0
    for samples, _ in spoken:
        noise = np.random.default_rng(1).normal(0, 2e-4, len(samples)).astype("f4")
        quiet = samples * np.float32(0.01) + noise
        window = Window(quiet, final=True, words=True, voiced_s=1.0)
        best, attempt = engine.transcribe([replace(window, redecode=False)])[0], 0
        while best.improvable:
            attempt += 1
            better = engine.transcribe([replace(window, earlier=best, attempt=attempt)])[0]
            assert better.confidence >= best.confidence
            improved += better.words != best.words
            best = better
        assert best == engine.transcribe([window])[0]
    assert improved, "no clip is uncertain enough to be decoded again"


def test_silence_before_the_speech_hides_fewer_beginnings_if_the_window_tells_its_length(engine, spoken):
    if engine.info.name != "moonshine":
        pytest.skip("the other engines don't depend on it")
    lead, begun = SAMPLE_RATE // 2, SAMPLE_RATE * 45 // 100
    with_words = {0: 0, lead: 0}
    for samples, _ in spoken:
        speech = samples[np.flatnonzero(np.abs(samples) > 0.1 * np.abs(samples).max())[0] :]
        beginning = np.concatenate([np.zeros(lead, np.float32), speech[:begun]])
        for told in with_words:
            window = Window(beginning, lead_samples=told, redecode=False)
            with_words[told] += bool(engine.transcribe([window])[0].words)
    assert with_words[lead] > with_words[0]


def test_only_silence_is_left_out_of_a_final_without_context(engine, spoken):
    """The first word of a clip that begins with speech is recognised, whatever the window says of silence."""
    if engine.info.name != "moonshine":
        pytest.skip("the other engines leave nothing out")
    for samples, _ in spoken:
        speech = samples[np.flatnonzero(np.abs(samples) > 0.1 * np.abs(samples).max())[0] :]
        short = engine.transcribe([Window(speech, final=True, lead_samples=1000, redecode=False)])
        unknown = engine.transcribe([Window(speech, final=True, redecode=False)])
        assert short == unknown


def test_words_rise_in_time_and_lie_in_the_window(engine, spoken):
    for samples, _ in spoken:
        words = engine.transcribe([Window(samples, words=True, final=True, voiced_s=1.0)])[0].words
        times = [time for word in words for time in (word.start, word.end)]

        assert times == sorted(times)
        assert all(word.end > word.start for word in words)
        assert times[0] >= 0
        assert times[-1] <= len(samples) / SAMPLE_RATE + 1.0  # silence put behind it may be touched


def test_a_prefix_is_kept_to_the_letter_where_the_engine_primes(engine, spoken):
    if not engine.info.primes:
        pytest.skip("this engine is never given a prefix")
    for samples, _ in spoken:
        whole = engine.transcribe([Window(samples)])[0]
        primed = engine.transcribe([Window(samples, prefix=whole.words[:3], draft=whole.words[3:])])[0]

        assert [word.text for word in primed.words[:3]] == [word.text for word in whole.words[:3]]


def test_silence_and_noise_give_no_words(engine):
    noise = np.random.default_rng(5).normal(0, 0.003, 4 * SAMPLE_RATE).astype(np.float32)
    for samples in (np.zeros(3 * SAMPLE_RATE, np.float32), noise):
        [hypothesis] = engine.transcribe([Window(samples, final=True)])
        assert hypothesis.words == ()
        assert hypothesis.reason in ("no_speech", "suppressed")


@pytest.mark.parametrize("samples", [1, 800, 4000])
def test_windows_shorter_than_the_model_likes_are_taken(engine, samples):
    assert len(engine.transcribe([Window(np.zeros(samples, np.float32), final=True)])) == 1


async def test_it_serves_a_whole_session(engine, spoken):
    said = spoken[:1] if engine.info.name == "whisper" else spoken[:3]
    pcm = np.concatenate([np.r_[x, np.zeros(SAMPLE_RATE, np.float32)] for x, _ in said])
    session_log = await recognise((pcm * 32767).astype(np.int16), engine, vad.load("silero"), words=True)

    wanted = " ".join(text for _, text in said)
    assert jiwer.wer(_bare(wanted), _bare(session_log.text)) < 0.35
    assert session_log.events[-1]["type"] == "closed"


def test_moonshine_wakes_up_where_it_is_deaf():
    """Three recordings on which the naive decoding is empty (docs/decisions/0003-moonshine.md)."""
    engine = load_engine(TranscriberSettings(stt_engine="moonshine"))[0]
    for name in ("533-1066-0000.flac", "533-1066-0006.flac"):
        samples = to_float(load(FIXTURES / "speech" / name))
        assert engine.transcribe([Window(samples, final=True, voiced_s=2.0)])[0].words


async def test_moonshine_tells_where_a_word_is():
    """ "Americans" begins some 1.5 s into the recording, as one can see in its waveform."""
    engine = load_engine(TranscriberSettings(stt_engine="moonshine"))[0]
    session_log = await recognise(
        load(FIXTURES / "speech" / "jfk.flac"), engine, vad.load("silero"), words=True
    )

    first = next(event for event in session_log.events if event["type"] == "final")
    starts = {bare(word["word"]): word["start"] for word in first["words"]}
    assert starts["fellow"] == pytest.approx(1.15, abs=0.25)
    assert starts["americans"] == pytest.approx(1.5, abs=0.25)


def test_a_draft_changes_no_word():
    engine = load_engine(TranscriberSettings(stt_engine="moonshine"))[0]
    samples = to_float(load(FIXTURES / "speech" / "jfk.flac"))
    plain = engine.transcribe([Window(samples)])[0]
    wrong = tuple(reversed(plain.words))

    for draft in (plain.words, plain.words[4:], wrong):
        assert [bare(w.text) for w in engine.transcribe([Window(samples, draft=draft)])[0].words] == [
            bare(w.text) for w in plain.words
        ]


def test_a_model_asked_for_by_name_is_never_replaced_silently(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="can't be loaded"):
        load_engine(TranscriberSettings(stt_engine="whisper", whisper_model=str(tmp_path / "none.pt")))
    with pytest.raises(EngineError, match="No engine 'nemo' is known"):
        load_engine(TranscriberSettings(stt_engine="nemo"))
    monkeypatch.setenv("PARLANDO_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="parlando models pull moonshine-tiny"):
        load_engine(TranscriberSettings(stt_engine="moonshine"))


def test_auto_says_why():
    engine, why = load_engine(TranscriberSettings(stt_engine="auto", whisper_model=None))

    assert engine.info.name == "moonshine"
    assert "embedded default" in why
