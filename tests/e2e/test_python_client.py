"""The Python client without `await`, and the examples of the documentation."""

import re
import runpy
import shutil
import time
from pathlib import Path

import pytest

from parlando.client import ClientError, Parlando
from support.cluster import Cluster
from support.speech import FIXTURES, fixture

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    example
    for page in ("README.md", "docs/quickstart.md")
    for example in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1) as running:
        yield running


def pieces():
    pcm = fixture("jfk.flac").tobytes()
    for start in range(0, len(pcm), 6400):
        yield pcm[start : start + 6400]


def test_live_without_await(cluster):
    with Parlando(cluster.http()) as parlando:
        events = list(parlando.live(pieces(), words=True))
    assert events[-1]["type"] == "closed"
    assert "country" in " ".join(event["text"] for event in events if event["type"] == "final")


def test_who_wants_no_more_leaves(cluster):
    with Parlando(cluster.http()) as parlando:
        for event in parlando.live(pieces()):
            if event["type"] == "final":
                break
        assert parlando.transcribe(FIXTURES / "speech" / "jfk.flac")["text"].startswith("And so")


def test_what_goes_wrong_is_raised(cluster):
    def broken():
        yield bytes(6400)
        raise OSError("the microphone was unplugged")

    with Parlando(cluster.http()) as parlando:
        with pytest.raises(OSError, match="unplugged"):
            list(parlando.live(broken()))
        with pytest.raises(ClientError, match="language"):
            list(parlando.live(pieces(), language="xx"))


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_documentation_run(cluster, number, tmp_path, monkeypatch, capsys):
    example = EXAMPLES[number]
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    for scheme in ("http", "ws"):
        example = example.replace(f"{scheme}://127.0.0.1:8000", f"{scheme}://127.0.0.1:{cluster.ports[0]}")
    script = tmp_path / "example.py"
    script.write_text(example)
    shutil.copytree(FIXTURES / "speech", tmp_path / "tests" / "fixtures" / "speech")
    shutil.copy(FIXTURES / "speech" / "jfk.flac", tmp_path / "talk.flac")
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    runpy.run_path(str(script), run_name="__main__")
    assert "country" in capsys.readouterr().out
    assert time.monotonic() - started < 60
