"""One client for each protocol that takes live audio or files: what it hears, without an official library.

Each function takes a cluster, int16 audio at 16 kHz and a language, and returns the text.
"""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import numpy as np
import websockets

from support.cluster import Cluster
from support.doors import frames
from support.jobs import submit, wait, wav


async def _talk(
    url: str,
    pcm: np.ndarray,
    *before: str,
    end: str,
    read: Callable[[dict], str],
    until: Callable[[dict], bool] | None = None,
) -> str:
    """What a WebSocket hears: `before`, the audio, `end`, and then the text that `read` finds.

    `until`: whether a message is the last one; else the server closes the connection.
    """
    texts = []
    async with asyncio.timeout(600), websockets.connect(url) as socket:

        async def send() -> None:
            for message in before:
                await socket.send(message)
            for frame in frames(pcm):
                await socket.send(frame)
            await socket.send(end)

        sending = asyncio.create_task(send())
        async for text in socket:
            message = json.loads(text)
            texts.append(read(message))
            if until is not None and until(message):
                break
        await sending
    return " ".join(filter(None, texts))


def _native(message: dict) -> str:
    return message["text"] if message["type"] == "final" else ""


async def native(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.url()}/v1/stt/stream?session_id={uuid4()}&language={language}"
    return await _talk(url, pcm, end='{"type":"end"}', read=_native)


async def native_start(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    start = json.dumps({"type": "start", "language": language})
    return await _talk(f"{cluster.url()}/v1/stt/stream", pcm, start, end='{"type":"end"}', read=_native)


async def native_config(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.url()}/v1/stt/stream?session_id={uuid4()}&language=en"
    config = json.dumps({"type": "config", "language": language})
    return await _talk(url, pcm, config, end='{"type":"end"}', read=_native)


async def omniasr(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    config = json.dumps({"type": "config", "sample_rate": 16000, "language": language})
    url = f"{cluster.url()}/v1/audio/transcriptions"
    return await _talk(
        url, pcm, config, end='{"type":"end"}', read=lambda m: m["text"] if m.get("is_final") else ""
    )


async def vosk(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    config = '{"config":{"sample_rate":16000}}'
    url = f"{cluster.url()}/vosk?language={language}"
    return await _talk(url, pcm, config, end='{"eof":1}', read=lambda m: m.get("text", ""))


async def assemblyai(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.url()}/v3/ws?sample_rate=16000&language_code={language}"
    return await _talk(url, pcm, end='{"type":"Terminate"}', read=lambda m: m.get("utterance", ""))


async def deepgram(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.url()}/v1/listen?encoding=linear16&sample_rate=16000&punctuate=true&language={language}"

    def read(message: dict) -> str:
        return message["channel"]["alternatives"][0]["transcript"] if message["type"] == "Results" else ""

    return await _talk(url, pcm, end='{"type":"CloseStream"}', read=read)


async def openai_realtime(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    """The whole audio is one item."""
    audio = {
        "format": {"type": "audio/pcm", "rate": 16_000},
        "transcription": {"language": language},
        "turn_detection": None,
    }
    update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio}}}
    append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm.tobytes()).decode()}
    return await _talk(
        f"{cluster.url()}/v1/realtime?intent=transcription",
        pcm[:0],
        json.dumps(update),
        json.dumps(append),
        end='{"type":"input_audio_buffer.commit"}',
        read=lambda m: m.get("transcript", ""),
        until=lambda m: m["type"].endswith((".completed", "error")),
    )


async def omi(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.url()}/omi/stt?language={language}"
    return await _talk(url, pcm, end='{"type":"CloseStream"}', read=lambda m: m["segments"][0]["text"])


async def wyoming(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    """Needs a cluster with `wyoming_port`."""
    async with asyncio.timeout(600):
        reader, writer = await asyncio.open_connection("127.0.0.1", cluster.wyoming_port)
        head = {"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}}
        writer.write(_line({"type": "transcribe", "data": {"language": language}}))
        for frame in frames(pcm):
            writer.write(_line({**head, "payload_length": len(frame)}) + frame)
        writer.write(_line({"type": "audio-stop"}))
        while True:
            event = json.loads(await reader.readline())
            data = json.loads(await reader.readexactly(event.get("data_length", 0)) or "{}")
            if event["type"] == "transcript":
                writer.close()
                return data["text"]


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"


# --- files ----------------------------------------------------------------------------------------------


async def _post(url: str, **request: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url, **request)
    assert answer.status_code == 200, answer.text
    return answer


def _file(pcm: np.ndarray, field: str = "file") -> dict[str, tuple[str, bytes]]:
    return {field: ("a.wav", wav(pcm))}


async def omniasr_stream(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.http()}/v1/audio/transcriptions/stream"
    answer = await _post(url, files=_file(pcm), data={"language": language})
    *_, last, _done = [line for line in answer.text.splitlines() if line.startswith("data:")]
    return json.loads(last.removeprefix("data:"))["text"]


async def openai_rest(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.http()}/v1/audio/transcriptions"
    return (await _post(url, files=_file(pcm), data={"language": language})).json()["text"]


async def jobs(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    def run() -> str:
        job = submit(cluster.http(), wav(pcm), language=language)
        return wait(cluster.http(), job["job_id"])["result"]["text"]

    return await asyncio.to_thread(run)


async def asr(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    url = f"{cluster.http()}/asr?language={quote(language)}"
    return " ".join((await _post(url, files=_file(pcm, "audio_file"))).text.split())


async def inference(cluster: Cluster, pcm: np.ndarray, language: str) -> str:
    answer = await _post(f"{cluster.http()}/inference", files=_file(pcm), data={"language": language})
    return answer.json()["text"].strip()


LIVE = {
    "native": native,
    "omi": omi,
    "deepgram": deepgram,
    "openai-realtime": openai_realtime,
    "omniasr": omniasr,
    "assemblyai": assemblyai,
    "vosk": vosk,
    "wyoming": wyoming,
}
"""Name of a door → its client."""
FILES = {"omniasr-stream": omniasr_stream, "openai": openai_rest, "jobs": jobs, "whisper-asr": asr}
"""Routes that take files and process them as jobs."""
