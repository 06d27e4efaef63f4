"""CTranslate2's Whisper models as checkpoints of openai-whisper: the same weights, the same results."""

import warnings

import ctranslate2
import numpy as np
import pytest
import structlog
import torch
import whisper
from typer.testing import CliRunner
from whisper.tokenizer import get_tokenizer

from parlando.cli.app import app
from parlando.domain.audio import to_float
from parlando.domain.transcript import bare
from parlando.models.catalogue import WHISPER_TINY_EN
from parlando.models.openai_checkpoint import convert, read_model
from support.ctranslate2_model import convert as to_ctranslate2
from support.models import fresh_store, whisper_tiny_en
from support.speech import JFK, fixture, load, words
from transcriber.engines.base import Window
from transcriber.engines.registry import load as load_engine
from transcriber.settings import TranscriberSettings

CLIPS = ("jfk.flac", "61-70968-0000.flac", "1688-142285-0003.flac")
TOLERANCE = 0.01  # of logits; float16, in which the weights are stored, resolves 0.016 near their largest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """tiny.en, converted from the store's folder."""
    path = tmp_path_factory.mktemp("converted") / "tiny.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(whisper_tiny_en(), path)
    return path


@pytest.mark.parametrize("quantization", [None, "float16", "int8"])
def test_a_checkpoint_converted_there_and_back_has_the_same_names_shapes_and_values(
    quantization, micro_checkpoint, tmp_path
):
    saved = torch.load(micro_checkpoint, weights_only=True)
    folder = to_ctranslate2(micro_checkpoint, tmp_path / "ct2", quantization=quantization)

    dimensions, state, heads = read_model(folder)

    assert dimensions == saved["dims"]
    assert state.keys() == saved["model_state_dict"].keys()
    for name, tensor in saved["model_state_dict"].items():
        expected, found = tensor.float().numpy(), state[name].astype(np.float32)
        assert found.shape == expected.shape, name
        match quantization:
            case None:
                assert (found == expected).all(), name
            case "float16":
                assert (found == expected.astype(np.float16)).all(), name
            case "int8":
                assert np.abs(found - expected).max() <= np.abs(expected).max() / 254 + 1e-3, name
    model = whisper.load_model(str(micro_checkpoint), device="cpu")
    assert heads == model.alignment_heads.to_dense().nonzero().tolist()


def test_openai_whisper_loads_the_checkpoint_of_tiny_en(tiny_checkpoint):
    model = whisper.load_model(str(tiny_checkpoint), device="cpu")

    assert model.dims == whisper.model.ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=384,
        n_audio_head=6,
        n_audio_layer=4,
        n_vocab=51864,
        n_text_ctx=448,
        n_text_state=384,
        n_text_head=6,
        n_text_layer=4,
    )
    assert not model.is_multilingual


@pytest.mark.parametrize("clip", CLIPS)
def test_logits_of_both_are_equal_within_float16(clip, tiny_checkpoint):
    """Both compute in float32, from the same weights in float16."""
    model = whisper.load_model(str(tiny_checkpoint), device="cpu")
    other = ctranslate2.models.Whisper(str(whisper_tiny_en()), device="cpu", compute_type="float32")
    tokenizer = get_tokenizer(multilingual=False)
    prompt = [tokenizer.sot, tokenizer.no_timestamps]
    samples = whisper.pad_or_trim(torch.from_numpy(to_float(fixture(clip)).copy()))
    mel = whisper.log_mel_spectrogram(samples)[None]

    encoded = other.encode(ctranslate2.StorageView.from_array(mel.numpy()), to_cpu=True)
    [result] = other.generate(
        encoded, [prompt], beam_size=1, return_logits_vocab=True, suppress_tokens=[], suppress_blank=False
    )
    [tokens], [steps] = result.sequences_ids, result.logits
    theirs = np.stack([np.array(step) for step in steps])
    with torch.inference_mode():
        states = model.encoder(mel)
        ours = model.logits(torch.tensor([prompt + tokens]), states)[0, len(prompt) - 1 :].numpy()

    recognised = {bare(word) for word in tokenizer.decode(tokens).split()}
    spoken = set(words(clip).split())
    assert len(recognised & spoken) > len(spoken) / 2, "the compared tokens are those of speech"
    assert np.abs(np.array(encoded) - states.numpy()).max() < TOLERANCE
    assert len(theirs) >= len(tokens)
    assert np.abs(theirs - ours[: len(theirs)]).max() < TOLERANCE


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of its own with tiny.en, on a machine where openai-whisper has downloaded nothing."""
    for name, value in fresh_store(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "models"


def test_the_engine_whisper_converts_a_model_of_the_store_once_and_says_so(store):
    settings = TranscriberSettings(stt_engine="whisper", whisper_model="tiny.en", device="cpu")
    checkpoint = store / "whisper-tiny.en" / "whisper-tiny.en.pt"

    with structlog.testing.capture_logs() as logs:
        engine, _ = load_engine(settings)
    first = checkpoint.stat().st_mtime_ns
    with structlog.testing.capture_logs() as later:
        load_engine(settings)

    assert [(log["event"], log["target"]) for log in logs] == [("model.converting", str(checkpoint))]
    assert [(log["event"], log["path"]) for log in later] == [("model.checkpoint", str(checkpoint))]
    assert checkpoint.stat().st_mtime_ns == first
    assert engine.info.model == "whisper-tiny.en"
    heads = engine._model.alignment_heads.to_dense()
    engine._model.set_alignment_heads(whisper._ALIGNMENT_HEADS["tiny.en"])
    assert torch.equal(heads, engine._model.alignment_heads.to_dense())
    [recognised] = engine.transcribe([Window(to_float(load(JFK)), final=True, voiced_s=9)])
    assert [bare(w.text) for w in recognised.words] == [bare(word) for word in words("jfk.flac").split()]


def test_the_command_line_converts_names_and_folders(store, tmp_path):
    folder = store / "whisper-tiny.en"

    named = CliRunner().invoke(app, ["models", "convert", "tiny.en"])
    elsewhere = CliRunner().invoke(app, ["models", "convert", str(folder), str(tmp_path / "mine.pt")])

    assert (named.exit_code, elsewhere.exit_code) == (0, 0)
    assert f"tiny.en is converted to {folder}/whisper-tiny.en.pt (76 MB)" in named.output
    one, two = (
        torch.load(p, weights_only=True) for p in (folder / "whisper-tiny.en.pt", tmp_path / "mine.pt")
    )
    assert one["dims"] == two["dims"]
    assert all(
        torch.equal(one["model_state_dict"][n], two["model_state_dict"][n]) for n in one["model_state_dict"]
    )
    assert {path.name for path in folder.iterdir()} == {
        *(file.name for file in WHISPER_TINY_EN.files),
        "whisper-tiny.en.pt",
        ".converting",
    }
