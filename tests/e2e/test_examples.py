"""The examples of the documents are run, as they are, against a real cluster.

Only the gateway's port is another one, and files that readers would have are made of a recording.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import soundfile

from parlando.client import Parlando
from support.cluster import Cluster
from support.examples import ROOT, Block, blocks, commands
from support.music import music, pcm16
from support.speech import JFK, RATE

DOCUMENTS = ("README.md", "docs")
SAID = "what you can do for your country"
DETECTS = "/detect-language"
"""Moonshine detects no languages: the answer is 400, as the documents say."""
LIVES = (
    "recognise --listen",
    "--watch",
    "--follow",
    "parlando up",
    "parlando deliveries",
    "parlando conform",
)
"""A microphone, what runs until it is stopped, and what the shells of other tests run."""
SONG = "song.flac"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def runs(block: Block) -> bool:
    """Whether this module runs a shell's block: it calls the gateway of this machine, without a key."""
    text = block.text
    local = "127.0.0.1:8000" in text or "localhost:8000" in text or re.search(r"^(\S*/)?parlando ", text)
    return bool(local) and not re.search(r"<key>|stt\.example|make run|pip install", text)


SHELL = [pytest.param(block, id=block.id) for block in blocks("sh") if runs(block)]
PYTHON = [
    pytest.param(block, id=block.id)
    for block in blocks("python")
    if block.document.name in ("README.md", "quickstart.md")
]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(processors=1, recognizers=1, analyzers=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands run: the recordings that they name, and the command `parlando`."""
    place = tmp_path_factory.mktemp("examples")
    (place / "tests").symlink_to(ROOT / "tests")
    (place / ".venv" / "bin").mkdir(parents=True)
    program = Path(sys.executable).with_name("parlando")
    (place / ".venv" / "bin" / "parlando").symlink_to(program)
    names = {
        name
        for block in blocks("sh")
        for words in commands(block.text)
        for word in words
        for name in re.findall(r"(?:^|@)(\w+\.(?:wav|m4a|mkv|flac))$", word)
    }
    for name in names:
        shutil.copy(JFK, place / name)
    piece = pcm16(music(3, 40))
    (place / "Music").mkdir()
    for song in (SONG, "Music/song.flac"):
        soundfile.write(place / song, piece, RATE)
    soundfile.write(place / "excerpt.wav", piece[10 * RATE : 20 * RATE], RATE)
    return place


def local(text: str, cluster: Cluster) -> str:
    """The text with the ports of this cluster."""
    changed = text.replace(":8001", f":{cluster.processor_port}")
    return re.sub(r"(127\.0\.0\.1|localhost):8000", f"127.0.0.1:{cluster.ports[0]}", changed)


@pytest.fixture(scope="module")
def session(cluster):
    """A session that has ended, for examples that name one."""
    samples = soundfile.read(JFK, dtype="int16")[0]
    with Parlando(cluster.http()) as client:
        list(client.live([samples.tobytes()], session_id="interview"))
    return "interview"


@needs_curl
@pytest.mark.parametrize("block", SHELL)
def test_the_shell_examples_succeed(block, cluster, folder, session):
    """Each command of curl must get an answer below 400; `songs/17` and the like are made to exist first."""
    lines = [line for line in block.text.splitlines() if not any(each in line for each in LIVES)]
    text = local("\n".join(lines), cluster)
    if "songs" in text:
        number = httpx.post(f"{cluster.http()}/songs", files={"file": (folder / SONG).open("rb")})
        text = re.sub(r"(songs/|songs remove )17", rf"\g<1>{number.json()['id']}", text)
    text = re.sub(r"\bcurl\b", f"curl -sS{'' if DETECTS in text else ' --fail-with-body'}", text)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PARLANDO_URL": cluster.http(),
        "HOME": str(folder),
        "ID": session,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    if DETECTS in text:
        assert "engine" in done.stdout, "the answer has the reason"
    if "songs/recognise" in text:
        assert '"song_id"' in done.stdout, "the excerpt is of the song that was registered"
    if "audio/transcriptions" in text or "output=srt" in text:
        assert "country" in done.stdout


@pytest.mark.parametrize("block", PYTHON)
def test_the_python_examples_succeed(block, cluster, folder):
    done = subprocess.run(
        [sys.executable, "-c", local(block.text, cluster)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SAID in re.sub(r"[^a-z ]", "", done.stdout.replace("\n", " ").lower())


def test_most_examples_are_run():
    assert len(SHELL) > 10
    assert len(PYTHON) == 4
