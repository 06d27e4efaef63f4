"""Wyoming, the protocol of Home Assistant's voice services, over TCP."""

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from parlando.cli.conform.drivers.base import CONNECT_S, Driver
from parlando.cli.conform.received import Received
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, Pcm16
from parlando.tasks import end

PORT: Final = 10_300
_AUDIO: Final = {"rate": SAMPLE_RATE, "width": BYTES_PER_SAMPLE, "channels": 1}


class Wyoming(Driver):
    """`tcp://host:port`. The client says where the utterance ends, and closes the connection."""

    name = "wyoming"
    summary = "Wyoming, a TCP port: --url tcp://127.0.0.1:10300"

    async def transcribe(self, clip: Pcm16) -> Received:
        """See `Driver`."""
        address = urlsplit(self.target.url)
        async with asyncio.timeout(CONNECT_S):
            opening = asyncio.open_connection(address.hostname, address.port or PORT)
            reader, writer = await opening

        async def send() -> None:
            writer.write(_packed("transcribe", {"language": "en"}) + _packed("audio-start", _AUDIO))
            async for frame in self.paced(clip):
                writer.write(_packed("audio-chunk", _AUDIO, frame))
                await writer.drain()
            writer.write(_packed("audio-stop", {}))

        sending = asyncio.create_task(send())
        try:
            while (event := await _event(reader)) is not None:
                if self._take(*event):
                    break
        finally:
            await end(sending)
            writer.close()
        self.received.clean = bool(self.received.texts)
        self.received.closed = "after the transcript" if self.received.clean else "before the transcript"
        return self.received

    def _take(self, kind: str, data: dict[str, Any]) -> bool:
        """Note what an event says; returns whether it is the transcript."""
        whole = self.received.utterance("whole")
        if kind == "transcript-chunk":
            whole.stable.append((whole.stable[-1] if whole.stable else "") + data["text"])
        elif kind == "transcript":
            whole.finals.append(data["text"])
        elif kind == "error":
            self.received.errors.append(str(data.get("text")))
        return kind == "transcript"


def _packed(kind: str, data: dict[str, Any], payload: bytes = b"") -> bytes:
    head = {"type": kind, "data": data, "payload_length": len(payload)}
    return orjson.dumps(head) + b"\n" + payload


async def _event(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | None:
    """The next event without its payload; None at the end."""
    line = await reader.readline()
    if not line:
        return None
    head = orjson.loads(line)
    data = dict(head.get("data") or {})
    if size := head.get("data_length"):
        data.update(orjson.loads(await reader.readexactly(size)))
    if size := head.get("payload_length"):
        await reader.readexactly(size)
    return head["type"], data
