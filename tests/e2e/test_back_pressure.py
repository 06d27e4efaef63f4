"""A client that sends faster than the cluster decodes waits; it is never cut for being slow to answer."""

import asyncio
import json
import signal

import numpy as np
import pytest
import websockets

from support.cluster import Cluster
from support.perfect import PERFECT, script, silence, speak

PING_S = 0.5  # so that uvicorn's own rule would cut a client after a second in which it isn't read
WORDS = 1160  # 40 in each of 29 sentences: ten minutes


@pytest.fixture(scope="module")
def cluster():
    with Cluster(**PERFECT, PERFECT_DELAY_MS="60", BUFFER_MAX_S="40", PING_S=str(PING_S)) as slow:
        yield slow


def _frames(pcm: np.ndarray, frame_ms: int):
    data, step = pcm.tobytes(), frame_ms * 32
    return (data[at : at + step] for at in range(0, len(data), step))


async def test_ten_minutes_at_once_to_a_worker_that_is_slow_and_stalls(cluster):
    """As browsers do, this client answers pings but sends none; its pongs lie behind all its audio."""
    pcm = np.concatenate([np.r_[speak(40, first=40 * n), silence(0.8)] for n in range(29)])
    worker, events = cluster.transcribers[0], []
    async with websockets.connect(
        f"{cluster.url()}/v1/stt/stream", ping_interval=None, max_size=None
    ) as socket:

        async def send() -> None:
            for frame in _frames(pcm, 100):
                await socket.send(frame)
            await socket.send('{"type":"end"}')

        async def stall() -> None:
            worker.signal(signal.SIGSTOP)
            await asyncio.sleep(8 * PING_S)
            worker.signal(signal.SIGCONT)

        sending, stalling = asyncio.create_task(send()), None
        async for message in socket:
            event = json.loads(message)
            events.append(event)
            if event.get("status") == "throttled" and stalling is None:
                stalling = asyncio.create_task(stall())
        await sending

    assert stalling is not None, "the client was throttled"
    await stalling
    assert socket.close_code == 1000
    assert events[-1]["type"] == "closed"
    assert events[-1]["reason"] == "end"
    words = " ".join(event["text"] for event in events if event["type"] == "final").split()
    assert words == script(0, WORDS)


async def test_a_client_that_answers_nothing_is_gone(cluster):
    """Its TCP connection stands, but nothing comes: the session must not wait for it."""
    socket = await websockets.connect(f"{cluster.url()}/v1/stt/stream", ping_interval=None)
    await socket.send(speak(1).tobytes())
    assert json.loads(await socket.recv())["type"] == "connected"
    assert cluster.connections() == 1
    socket.transport.pause_reading()  # nor does it answer pings
    async with asyncio.timeout(600):
        while cluster.connections():
            await asyncio.sleep(0.1)
    socket.transport.abort()


async def test_a_client_that_only_sends_audio_and_no_pongs_stays(cluster):
    """Any byte is a sign of life."""
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream", ping_interval=None) as socket:
        received = asyncio.create_task(_collect(socket))
        answered = socket.protocol.recv_frame
        socket.protocol.recv_frame = lambda frame: _without_pings(answered, frame)
        for frame in _frames(np.r_[speak(10), silence(1)], 100):
            await socket.send(frame)
            await asyncio.sleep(PING_S / 5)
        await socket.send('{"type":"end"}')
        events = await received

    assert socket.close_code == 1000
    words = " ".join(event["text"] for event in events if event["type"] == "final").split()
    assert words == script(0, 10)


async def _collect(socket) -> list[dict]:
    return [json.loads(message) async for message in socket]


def _without_pings(received, frame) -> None:
    if frame.opcode is not websockets.frames.Opcode.PING:
        received(frame)
