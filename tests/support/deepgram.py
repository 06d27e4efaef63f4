"""A plain client of Deepgram's live protocol, and the promises that its results keep."""

import asyncio
import contextlib
import json
from typing import Any

import numpy as np
import websockets

from support.cluster import Cluster

RAW = "encoding=linear16&sample_rate=16000"


async def listen(
    cluster: Cluster,
    path: str,
    audio: bytes,
    *,
    messages: dict[int, dict[str, Any]] | None = None,
    piece: int = 3200,
    pace_s: float = 0.0,
    key: str = "key",
) -> list[dict[str, Any]]:
    """All messages of one connection, and at its end `{"type": "closed", "code", "reason"}`.

    `messages`: text messages to send, by the number of the piece of audio before which they go.
    """
    headers = {"Authorization": f"Token {key}"}
    received: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(600),
        websockets.connect(
            cluster.url() + path, additional_headers=headers, ping_timeout=None, max_size=None
        ) as socket,
    ):

        async def talk() -> None:
            for number, at in enumerate(range(0, len(audio), piece)):
                if messages and number in messages:
                    await socket.send(json.dumps(messages[number]))
                await socket.send(audio[at : at + piece])
                await asyncio.sleep(pace_s)
            await socket.send('{"type":"CloseStream"}')

        talking = asyncio.create_task(talk())
        try:
            with contextlib.suppress(websockets.ConnectionClosedError):
                async for message in socket:
                    received.append(json.loads(message))  # noqa: PERF401 those before an error are kept
        finally:
            await asyncio.wait([talking])
        received.append({"type": "closed", "code": socket.close_code, "reason": socket.close_reason})
    return received


def results(messages: list[dict[str, Any]], channel: int = 0) -> list[dict[str, Any]]:
    return [m for m in messages if m["type"] == "Results" and m["channel_index"][0] == channel]


def text_of(result: dict[str, Any]) -> str:
    return result["channel"]["alternatives"][0]["transcript"]


def texts(messages: list[dict[str, Any]], channel: int = 0) -> list[str]:
    """The texts of the finals that have one."""
    return [text_of(each) for each in results(messages, channel) if each["is_final"] and text_of(each)]


def words(messages: list[dict[str, Any]], channel: int = 0) -> list[str]:
    return " ".join(texts(messages, channel)).split()


def check_promises(messages: list[dict[str, Any]], *, channels: int = 1) -> None:
    """Finals are contiguous from 0 to the end of the audio; interims begin at the last final; times rise."""
    metadata = [message for message in messages if message["type"] == "Metadata"]
    assert len(metadata) == 1
    assert messages[-2:] == [metadata[0], {"type": "closed", "code": 1000, "reason": ""}]
    for channel in range(channels):
        at, spoken_until = 0.0, 0.0
        for result in results(messages, channel):
            assert result["channel_index"] == [channel, channels]
            assert result["start"] == at, "a result begins where the last final ends"
            assert result["duration"] >= 0
            if not result["is_final"]:
                assert not result["speech_final"]
                continue
            at = round(result["start"] + result["duration"], 4)
            for word in result["channel"]["alternatives"][0]["words"]:
                assert spoken_until <= word["start"] <= word["end"] <= at + 1e-3
                spoken_until = word["end"]
        assert at == metadata[0]["duration"], "the finals cover all audio"


def interleaved(*channels: np.ndarray) -> bytes:
    """int16 channels of equal length as one stream."""
    return np.stack(channels, axis=1).astype("<i2").tobytes()
