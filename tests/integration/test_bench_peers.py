"""The comparison's sessions and servers, with servers that are a few lines long."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.peers import server
from bench.peers.measuring import talk
from bench.peers.parlando_native import Native
from bench.peers.system import System
from bench.peers.whisperlive import Segments
from bench.peers.whisperlivekit import Asr
from bench.streams import RATE, Stream

SAID = Stream(np.arange(RATE // 2, dtype=np.int16), (), (), ())  # half a second


@asynccontextmanager
async def answering(handler: Any) -> AsyncIterator[str]:
    """The URL of a WebSocket server."""
    async with serve(handler, "127.0.0.1", 0) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"


async def test_all_audio_is_sent_and_the_text_after_the_last_frame_is_the_tail():
    received = []

    async def handler(socket: ServerConnection) -> None:
        async for message in socket:
            received.append(message)
            if message == Native.ending:
                await socket.send('{"type":"final","segment":0,"text":"the end"}')
                await socket.send('{"type":"closed","duration":0.5}')

    async with answering(handler) as url:
        trace = await talk(url, Native(), SAID)
    assert np.array_equal(np.frombuffer(b"".join(received[:-1]), "<i2"), SAID.pcm)
    assert received[-1] == Native.ending
    assert (trace.failure, trace.text) == ("", "the end")
    assert trace.tail_s > 0
    assert trace.ended - trace.started >= 0.4


async def test_a_refusal_is_told_with_its_code():
    async def handler(socket: ServerConnection) -> None:
        await socket.send('{"type":"error","code":"at_capacity"}')
        await socket.close(1013)

    async with answering(handler) as url:
        assert (await talk(url, Native(), SAID)).failure == "at_capacity"


async def test_a_server_that_leaves_in_the_middle_has_failed():
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()

    async with answering(handler) as url:
        assert (await talk(url, Asr(), SAID)).failure


async def test_whisperlive_is_told_the_end_once_no_new_text_comes(monkeypatch):
    monkeypatch.setattr(Segments, "linger_s", 0.3)
    received = []

    async def handler(socket: ServerConnection) -> None:
        assert json.loads(await socket.recv())["language"] == "en"
        await socket.send('{"message":"SERVER_READY"}')
        async for message in socket:
            received.append(message)
            if len(received) == 5:  # the last frame
                await socket.send('{"segments":[{"start":"0.0","text":"late","completed":false}]}')
            if message == Segments.ending:
                return

    async with answering(handler) as url:
        trace = await talk(url, Segments(), SAID)
    assert received[-1] == Segments.ending
    assert np.allclose(np.frombuffer(b"".join(received[:-1]), "<f4"), SAID.pcm / 32768)
    assert (trace.failure, trace.text) == ("", "late")


def python(code: str) -> System:
    return System("A Test", "parlando", "", Native, (sys.executable, "-c", code, "{port}", "{model}"))


def test_a_server_is_stopped_with_all_that_it_has_started(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "FOLDER", tmp_path)
    code = (
        "import os, socket, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "listening = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print(os.environ['HF_HUB_OFFLINE'], os.environ['HTTPS_PROXY'], sys.argv[2], flush=True)\n"
        "time.sleep(600)\n"
    )
    with server.serving(python(code), Path("models/whisper-tiny.en")) as running:
        processes = [running.process.pid, *(c.pid for c in psutil.Process(running.process.pid).children())]
        assert running.cpu_s() > 0
        assert running.memory_mb() > 1
    assert len(processes) == 2
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in processes)
    assert (tmp_path / "peers-a-test.log").read_text() == f"1 {server.NOWHERE} models/whisper-tiny.en\n"


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "FOLDER", tmp_path)
    with (
        pytest.raises(RuntimeError, match=r"A Test ended with status 3 .*no such flag"),
        server.serving(
            python("import sys; print('no such flag'); sys.exit(3)"), Path("models/whisper-tiny.en")
        ),
    ):
        pass
