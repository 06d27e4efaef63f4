"""The models that are made of Moonshine's published files compute what those compute."""

import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from parlando.domain.audio import to_float
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from support.speech import fixture
from transcriber.engines import moonshine_graph, onnx_graphs
from transcriber.engines.moonshine import BOS
from transcriber.engines.onnx_graphs import multiplies_int8_exactly, remove_unused

exact = pytest.mark.skipif(not multiplies_int8_exactly(), reason="uint8 x int8 saturates on this processor")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A copy of the published files."""
    folder = tmp_path_factory.mktemp("moonshine")
    for file in ModelStore().pull(MOONSHINE_TINY).glob("*.*"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def speech():
    return {"input_values": to_float(fixture("jfk.flac"))[None, : 5 * 16_000]}


def run(path, feed):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)


def made(published, monkeypatch, signed):
    monkeypatch.setattr(moonshine_graph, "multiplies_int8_exactly", lambda: signed)
    return moonshine_graph.optimised(published)


@exact
def test_the_encoder_with_signed_weights_gives_the_same_bits(published, speech, monkeypatch):
    graphs = made(published, monkeypatch, True)
    assert (run(graphs.encoder, speech)[0] == run(published / "encoder_model.onnx", speech)[0]).all()


@exact
def test_signed_weights_give_the_same_bits(published, speech, monkeypatch):
    states = run(published / "encoder_model.onnx", speech)[0]
    feed = {"input_ids": np.array([[BOS, 300, 400, 500]]), "encoder_hidden_states": states}
    signed = run(made(published, monkeypatch, True).first, feed)
    unsigned = run(made(published, monkeypatch, False).first, feed)
    assert all((a == b).all() for a, b in zip(signed, unsigned, strict=True))


def test_the_second_model_continues_the_first(published, speech, monkeypatch):
    """The logits of tokens with a cache are those of the same tokens in one pass."""
    graphs = made(published, monkeypatch, False)
    states = run(graphs.encoder, speech)[0]
    first = ort.InferenceSession(str(graphs.first), providers=["CPUExecutionProvider"])
    following = ort.InferenceSession(str(graphs.following), providers=["CPUExecutionProvider"])

    def outputs(session, feed):
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feed), strict=True))

    whole = outputs(first, {"input_ids": np.array([[BOS, 300, 400, 500]]), "encoder_hidden_states": states})
    begun = outputs(first, {"input_ids": np.array([[BOS, 300]]), "encoder_hidden_states": states})
    cache = {
        name.replace("present", "past_key_values"): value
        for name, value in begun.items()
        if name.startswith("present")
    }
    rest = outputs(following, {"input_ids": np.array([[400, 500]]), **cache})
    assert np.abs(rest["logits"] - whole["logits"][:, 2:]).max() < 0.2 * np.abs(whole["logits"]).max()
    assert (rest["logits"].argmax(-1) == whole["logits"][:, 2:].argmax(-1)).all()


def test_without_exact_products_the_encoder_is_the_published_one(published, speech, monkeypatch):
    graphs = made(published, monkeypatch, False)
    assert (run(graphs.encoder, speech)[0] == run(published / "encoder_model.onnx", speech)[0]).all()


def test_models_are_made_once_and_readable_by_all_users(published, monkeypatch):
    path = made(published, monkeypatch, False).first
    before = path.stat()
    assert before.st_mode & 0o444 == 0o444
    assert made(published, monkeypatch, False).first.stat().st_mtime_ns == before.st_mtime_ns


def test_saturation_is_noticed(monkeypatch):
    class Saturating:
        def run(self, _, feed):
            return [np.full((len(feed["a"]), 16), 32_767, np.int32)]

    monkeypatch.setattr(onnx_graphs.ort, "InferenceSession", lambda *_, **__: Saturating())
    assert not multiplies_int8_exactly.__wrapped__()


def test_what_no_output_needs_is_removed():
    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"]), helper.make_node("Add", ["x", "two"], ["unused"])],
        "g",
        [value("x")],
        [value("y")],
        [numpy_helper.from_array(np.ones(1, np.float32), name) for name in ("one", "two")],
    )
    remove_unused(graph)
    assert [node.output[0] for node in graph.node] == ["y"]
    assert [weight.name for weight in graph.initializer] == ["one"]
    onnx.checker.check_graph(graph)
