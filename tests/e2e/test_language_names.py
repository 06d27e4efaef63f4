"""A language may be written in many ways at every door that takes one.

The engine mishears German unless it is told German or nothing: so what it hears shows what it was told.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import httpx
import numpy as np
import pytest
import websockets

from api_gateway.doors.table import DOORS
from parlando.embedded.redis_server import free_port
from support.cluster import Cluster
from support.jobs import submit, wait, wav
from support.perfect import silence, speak
from support.polyglot import OBEDIENT, number, text

GERMAN = np.concatenate([speak(4, first=number("de", 0)), silence(1)])
FILE = {"file": ("a.wav", wav(GERMAN))}
HEARD = text("de", 0, 4)
MISHEARD = " ".join(f"fr-{word}" for word in HEARD.split())
NAMES = {
    "deu": HEARD,
    "ger": HEARD,
    "German": HEARD,
    "DE-at": HEARD,
    "deu_Latn": HEARD,
    "auto": HEARD,
    "fre": MISHEARD,
    "fra_Latn": MISHEARD,
    "french": MISHEARD,
    "fr-CA": MISHEARD,
}


@pytest.fixture(scope="module")
def cluster():
    port = free_port()
    with Cluster(transcribers=2, processors=1, WYOMING_PORT=str(port), **OBEDIENT) as cluster:
        cluster.wyoming_port = port
        yield cluster


async def talk(url: str, *before: str, end: str, read: Callable[[dict], str]) -> str:
    """What a WebSocket door hears: `before`, the audio, `end`, and the text that `read` finds."""
    async with asyncio.timeout(600), websockets.connect(url) as socket:
        for message in before:
            await socket.send(message)
        for at in range(0, len(GERMAN), 8000):
            await socket.send(GERMAN[at : at + 8000].tobytes())
        await socket.send(end)
        texts = [read(json.loads(message)) async for message in socket]
    return " ".join(filter(None, texts))


async def native(cluster: Cluster, name: str) -> str:
    url = f"{cluster.url()}/v1/stt/stream?session_id=n-{name}&language={name}"
    return await talk(url, end='{"type":"end"}', read=_native)


def _native(message: dict) -> str:
    return message["text"] if message["type"] == "final" else ""


async def native_start(cluster: Cluster, name: str) -> str:
    start = json.dumps({"type": "start", "language": name})
    return await talk(f"{cluster.url()}/v1/stt/stream", start, end='{"type":"end"}', read=_native)


async def native_config(cluster: Cluster, name: str) -> str:
    url = f"{cluster.url()}/v1/stt/stream?session_id=c-{name}&language=en"
    config = json.dumps({"type": "config", "language": name})
    return await talk(url, config, end='{"type":"end"}', read=_native)


async def omniasr(cluster: Cluster, name: str) -> str:
    config = json.dumps({"type": "config", "sample_rate": 16000, "language": name})
    url = f"{cluster.url()}/v1/audio/transcriptions"
    return await talk(
        url, config, end='{"type":"end"}', read=lambda m: m["text"] if m.get("is_final") else ""
    )


async def omniasr_stream(cluster: Cluster, name: str) -> str:
    answer = await _post(
        f"{cluster.http()}/v1/audio/transcriptions/stream", files=FILE, data={"language": name}
    )
    *_, last, _done = [line for line in answer.text.splitlines() if line.startswith("data:")]
    return json.loads(last.removeprefix("data:"))["text"]


async def vosk(cluster: Cluster, name: str) -> str:
    config = '{"config":{"sample_rate":16000}}'
    url = f"{cluster.url()}/vosk?language={name}"
    return await talk(url, config, end='{"eof":1}', read=lambda m: m.get("text", ""))


async def assemblyai(cluster: Cluster, name: str) -> str:
    url = f"{cluster.url()}/v3/ws?sample_rate=16000&language_code={name}"
    return await talk(url, end='{"type":"Terminate"}', read=lambda m: m.get("utterance", ""))


async def omi_socket(cluster: Cluster, name: str) -> str:
    url = f"{cluster.url()}/omi/stt?language={name}"
    return await talk(url, end='{"type":"CloseStream"}', read=lambda m: m["segments"][0]["text"])


async def wyoming(cluster: Cluster, name: str) -> str:
    async with asyncio.timeout(600):
        reader, writer = await asyncio.open_connection("127.0.0.1", cluster.wyoming_port)
        events = [{"type": "transcribe", "data": {"language": name}}]
        head = {"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}}
        events.append({**head, "payload_length": len(GERMAN) * 2})
        for event in events:
            writer.write(json.dumps(event).encode() + b"\n")
        writer.write(GERMAN.tobytes() + b'{"type":"audio-stop"}\n')
        while True:
            event = json.loads(await reader.readline())
            data = json.loads(await reader.readexactly(event.get("data_length", 0)) or "{}")
            if event["type"] == "transcript":
                writer.close()
                return data["text"]


async def openai_rest(cluster: Cluster, name: str) -> str:
    answer = await _post(f"{cluster.http()}/v1/audio/transcriptions", files=FILE, data={"language": name})
    return answer.json()["text"]


async def jobs(cluster: Cluster, name: str) -> str:
    def run() -> str:
        job = submit(cluster.http(), wav(GERMAN), language=name)
        return wait(cluster.http(), job["job_id"])["result"]["text"]

    return await asyncio.to_thread(run)


async def asr(cluster: Cluster, name: str) -> str:
    params = {"language": name, "encode": "true"}
    answer = await _post(f"{cluster.http()}/asr", params=params, files={"audio_file": FILE["file"]})
    return answer.text.strip()


async def inference(cluster: Cluster, name: str) -> str:
    answer = await _post(f"{cluster.http()}/inference", files=FILE, data={"language": name})
    return answer.json()["text"].strip()


async def detect_language(cluster: Cluster, name: str) -> str:
    """Among what is stated: so the answer itself says what was understood."""
    answer = await _post(f"{cluster.http()}/v1/detect-language", files=FILE, data={"language": name})
    return HEARD if answer.json()["language_code"] == "de" else MISHEARD


async def _post(url: str, **request) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url, **request)
    assert answer.status_code == 200, answer.text
    return answer


TAKE_A_LANGUAGE: dict[str, Callable[[Cluster, str], Awaitable[str]]] = {
    each.__name__: each
    for each in (
        native,
        native_start,
        native_config,
        omniasr,
        omniasr_stream,
        vosk,
        assemblyai,
        omi_socket,
        wyoming,
        openai_rest,
        jobs,
        asr,
        inference,
        detect_language,
    )
}
ELSEWHERE = {"omi": "omi_socket"}
OWN_TESTS = {"openai-realtime", "deepgram", "deepgram-flux", "twilio"}
"""Doors whose languages their own tests check."""


@pytest.mark.parametrize("door", TAKE_A_LANGUAGE)
async def test_every_door_knows_every_spelling(cluster, door):
    heard = {}
    for name in NAMES:
        heard[name] = await TAKE_A_LANGUAGE[door](cluster, name)
    assert heard == NAMES


def test_no_door_is_forgotten():
    names = {ELSEWHERE.get(door.name, door.name) for door in DOORS}
    assert names - set(TAKE_A_LANGUAGE) <= OWN_TESTS
