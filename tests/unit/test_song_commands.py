"""`parlando songs recognise --listen`, with a microphone in place of the machine's."""

import asyncio
import io
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from parlando.cli import microphone, songs
from parlando.client import ClientError
from support.speech import RATE

SOUND = np.arange(RATE, dtype=np.int16)


class Microphone(types.SimpleNamespace):
    """The part of the package sounddevice that a recording uses; delivers `SOUND` in two pieces."""

    PortAudioError = RuntimeError

    def __init__(self) -> None:
        super().__init__(opened=[])

    def RawInputStream(self, rate: int, *, channels: int, dtype: str, callback):  # noqa: N802 (its name)
        self.opened.append((rate, channels, dtype))

        class Stream:
            def __enter__(self) -> None:
                for piece in np.split(SOUND, 2):
                    callback(memoryview(piece.tobytes()), len(piece), None, None)

            def __exit__(self, *_: object) -> None:
                pass

        return Stream()


@pytest.fixture
def heard(monkeypatch):
    """What `recognise --listen` sends to the gateway, as (name, samples, rate)."""
    sent = []

    class Client:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def recognise_bytes(self, data: bytes, name: str) -> dict | None:
            sent.append((name, *soundfile.read(io.BytesIO(data), dtype="int16")))
            return {"artist": "The Band", "album": "", "title": "Melody", "offset": 83.2, "matches": 41}

    monkeypatch.setattr(songs, "SongsClient", Client)
    monkeypatch.setattr(microphone.time, "sleep", lambda seconds: None)
    return sent


def test_listen_sends_what_the_microphone_records_and_prints_the_song(heard, monkeypatch):
    package = Microphone()
    monkeypatch.setitem(sys.modules, "sounddevice", package)
    done = CliRunner().invoke(songs.app, ["recognise", "--listen"])
    assert (done.exit_code, done.stdout) == (0, "'Melody' by The Band, at 83.2 s, 41 matches\n")
    assert package.opened == [(RATE, 1, "int16")]
    [(name, samples, rate)] = heard
    assert (name, rate) == ("microphone.wav", RATE)
    assert samples.tolist() == SOUND.tolist()


def test_without_a_microphone_the_error_says_what_to_install(heard, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = CliRunner().invoke(songs.app, ["recognise", "--listen"])
    assert isinstance(done.exception, ClientError)
    assert "pip install sounddevice" in str(done.exception)
    assert not heard


class Index:
    """A gateway that registers songs; it refuses those that are called bad."""

    def __init__(self) -> None:
        self.registrations: list[str] = []
        self.known: set[str] = set()
        self.running = self.most_running = 0
        self.reached: asyncio.Event | None = None
        self.stops_at = -1

    def client(self, *_: object, **__: object) -> "Index":
        return self

    async def __aenter__(self) -> "Index":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def registered(self, sha256: str) -> dict | None:
        await asyncio.sleep(0)
        return {"id": 1} if sha256 in self.known else None

    async def register(self, file: Path) -> dict:
        if len(self.registrations) == self.stops_at:
            self.reached.set()
            await asyncio.Event().wait()
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(0)
        self.running -= 1
        if file.name.startswith("bad"):
            raise ClientError("invalid_audio", "It is [no] music")
        self.registrations.append(file.name)
        self.known.add(songs._sha256(file))
        return {"id": len(self.known)}


@pytest.fixture
def index(monkeypatch):
    made = Index()
    monkeypatch.setattr(songs, "SongsClient", made.client)
    return made


async def test_an_interrupted_folder_of_songs_is_continued(index, tmp_path, capsys):
    """120 files in folders; the command is interrupted after 70, and repeated."""
    for number in range(120):
        (tmp_path / f"{number % 5}").mkdir(exist_ok=True)
        (tmp_path / f"{number % 5}" / f"{number}.wav").write_bytes(b"%d" % number)
    index.stops_at, index.reached = 70, asyncio.Event()
    first = asyncio.create_task(songs._register([tmp_path], url="http://g", key=None, parallel=1))
    async with asyncio.timeout(600):
        await index.reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    told = capsys.readouterr().err
    assert "50 of 120: 50 registered, 0 skipped, 0 failed\n" in told
    assert "interrupted: 70 registered, 0 skipped, 0 failed of 120; repeat the command to continue" in told

    index.stops_at = -1
    (tmp_path / "bad.wav").write_bytes(b"bad")
    assert await songs._register([tmp_path], url="http://g", key=None, parallel=3) == 1
    output = capsys.readouterr()
    assert output.out == "50 registered, 70 skipped, 1 failed\n"
    assert "bad.wav: It is [no] music" in output.err
    assert sorted(index.registrations, key=lambda name: int(name.partition(".")[0])) == [
        f"{number}.wav" for number in range(120)
    ]
    assert index.most_running <= 3
