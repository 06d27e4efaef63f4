"""omniASR-server's clients: its WebSocket, its event stream, its settings."""

import asyncio
import json
from itertools import pairwise

import httpx
import numpy as np
import pytest
import websockets

from support.cluster import Cluster
from support.doors import SPOKEN, WORDS, frames, kill_owner, sessions
from support.jobs import wav
from support.perfect import PERFECT, silence, speak
from support.speech import JFK


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1, WORKER_SESSIONS="4", **PERFECT) as cluster:
        yield cluster


def url(cluster: Cluster) -> str:
    return f"{cluster.url()}/v1/audio/transcriptions"


def check(messages: list[dict], words: list[str]) -> None:
    """One final message, the last one, with all words; confirmed text is only appended to."""
    *interim, last = messages
    assert last["is_final"]
    assert last["text"].split() == last["confirmed_text"].split() == words
    assert not any(message["is_final"] for message in interim)
    confirmed = ""
    for message in messages:
        assert message["confirmed_text"].startswith(confirmed)
        confirmed = message["confirmed_text"]
        assert message["text"] == f"{confirmed} {message['pending_text']}".strip()
    ends = [message["audio_duration"] for message in messages]
    assert ends == sorted(ends)


async def test_the_client_of_its_readme(cluster):
    async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
        ready = json.loads(await socket.recv())
        for frame in frames(SPOKEN):
            await socket.send(frame)
        await socket.send(json.dumps({"type": "end"}))
        messages = []
        async for message in socket:
            messages.append(json.loads(message))
            if messages[-1].get("is_final"):
                break
        with pytest.raises(websockets.ConnectionClosedOK):
            await socket.recv()
    assert ready == {"type": "ready", "sample_rate": 16000, "model": "perfect-script"}
    check(messages, WORDS)


async def test_a_transcriber_is_killed_in_the_middle(cluster):
    before = sessions(cluster)
    async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
        await socket.recv()
        half = len(SPOKEN) // 2
        await socket.send(SPOKEN[:half].tobytes())
        messages = [json.loads(await socket.recv())]
        await kill_owner(cluster, before)
        await socket.send(SPOKEN[half:].tobytes())
        await socket.send('{"type":"end"}')
        messages += [json.loads(message) async for message in socket]
    check(messages, WORDS)
    assert socket.close_code == 1000


async def test_another_rate_and_what_is_not_understood(cluster):
    """Malformed messages are ignored; a config before the audio may set the rate."""
    pcm = np.repeat(speak(4), 2)  # as sent by a microphone at 32 kHz
    async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
        await socket.recv()
        await socket.send('{"type":"config","sample_rate":32000,"language":"eng_Latn","model":"any"}')
        for text in ("no JSON", "[1]", '{"type":"dance"}'):
            await socket.send(text)
        await socket.send(pcm.tobytes())
        await socket.send('{"type":"config","sample_rate":100}')
        await socket.send('{"type":"end"}')
        messages = [json.loads(message) async for message in socket]
    [error] = [message for message in messages if message.get("type") == "error"]
    assert "sample_rate" in error["message"]
    last = messages[-1]
    assert last["is_final"]
    assert last["audio_duration"] == pytest.approx(2.0, abs=0.2)


async def test_without_speech_there_is_a_final_message_too(cluster):
    for pcm in (np.zeros(0, np.int16), silence(1)):
        async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
            await socket.recv()
            await socket.send(pcm.tobytes())
            await socket.send('{"type":"end"}')
            [last] = [json.loads(message) async for message in socket]
        assert (last["text"], last["is_final"]) == ("", True)


async def test_a_client_too_many_is_told_to_come_again(cluster):
    async with asyncio.timeout(600):
        held = []
        while True:
            socket = await websockets.connect(url(cluster))
            held.append(socket)
            first = json.loads(await socket.recv())
            if first["type"] != "ready":
                break
        assert first["type"] == "error"
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1013
        for socket in held:
            try:
                await socket.send('{"type":"end"}')
                async for _ in socket:
                    pass
            except websockets.ConnectionClosed:
                pass


def events(text: str) -> list[dict]:
    *found, done = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data:")]
    assert done == "[DONE]"
    return [json.loads(each) for each in found]


def test_a_file_comes_as_an_event_stream(cluster):
    answer = httpx.post(
        f"{cluster.http()}/v1/audio/transcriptions/stream",
        files={"file": ("a.wav", wav(SPOKEN))},
        data={"model": "omniASR_CTC_300M_v2", "language": "eng_Latn"},
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer.text)
    assert found[-1]["text"].split() == WORDS
    assert [event["is_final"] for event in found] == [False] * (len(found) - 1) + [True]
    for before, after in pairwise(found):
        assert after["text"].startswith(before["text"])
    assert found[-1]["chunk"] == f"{len(found)}/{len(found)}"
    assert found[-1]["duration"] == pytest.approx(len(SPOKEN) / 16000, abs=0.1)
    assert {"processing_time", "rtf"} <= set(found[-1])


@pytest.mark.parametrize(
    ("files", "data", "status"),
    [
        ({}, {"language": "en"}, 400),
        ({"file": ("a.wav", b"")}, {}, 400),
        ({"file": ("a.wav", b"x")}, {"model": "unknown"}, 404),
        ({"file": ("a.wav", b"x")}, {"language": "xx"}, 400),
    ],
)
def test_requests_that_cannot_be_served(cluster, files, data, status):
    answer = httpx.post(
        f"{cluster.http()}/v1/audio/transcriptions/stream",
        files={**files, "unused": (None, "x")},
        data=data,
    )
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_file_that_is_no_audio_ends_with_an_error(cluster):
    answer = httpx.post(
        f"{cluster.http()}/v1/audio/transcriptions/stream", files={"file": ("a.wav", b"no audio" * 99)}
    )
    [line] = [line for line in answer.text.splitlines() if line.startswith("data:")]
    assert json.loads(line.removeprefix("data: "))["error"]["param"] == "file"


def test_its_settings(cluster, tmp_path):
    """Names and language have an effect; what has none is in the log."""
    gateway = cluster.add_gateway(
        MODEL_CARD="my-model", DEFAULT_LANG="deu_Latn", CHUNK_DURATION="5.0", VAD_ENABLED="false"
    )
    cluster.wait_ready(1)
    base = cluster.http(len(cluster.gateways) - 1)
    files = {"file": ("jfk.flac", JFK.read_bytes())}
    answer = httpx.post(f"{base}/v1/audio/transcriptions", files=files, data={"model": "my-model"})
    assert answer.status_code == 200
    jobs = [
        httpx.post(f"{base}/v1/stt/jobs", files=files, data=data).json()["options"]
        for data in ({}, {"language": "auto"}, {"language": "fra"})
    ]
    assert [job.get("language") for job in jobs] == ["de", None, "fr"]
    log = gateway.log.read_text()
    differs = [json.loads(line) for line in log.splitlines() if "setting.differs" in line]
    assert [line["setting"] for line in differs] == ["MODEL_CARD", "CHUNK_DURATION", "VAD_ENABLED"]
    gateway.terminate()
