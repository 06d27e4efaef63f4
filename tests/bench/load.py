"""Many live sessions in real time, from one process that uses little CPU time."""

import asyncio
import json
import os
import struct
import time
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RATE = 16_000
_MASK = bytes(4)  # a mask of zeros is valid, and leaves the payload as it is


def frame(payload: bytes, *, text: bool = False) -> bytes:
    """A client's WebSocket frame."""
    head = 0x81 if text else 0x82
    size = len(payload)
    if size < 126:
        return bytes([head, 0x80 | size]) + _MASK + payload
    if size < 65_536:
        return struct.pack("!BBH", head, 0x80 | 126, size) + _MASK + payload
    return struct.pack("!BBQ", head, 0x80 | 127, size) + _MASK + payload


@dataclass
class Session:
    """What one client sent and received. Times in seconds of `time.monotonic`."""

    started: float = 0.0
    rate: int = RATE  # sample rate of the audio sent, in Hz
    sent: int = 0  # samples
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    refused: str = ""

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, event) for at, event in self.events if event["type"] == kind]

    @property
    def complete(self) -> bool:
        """Whether the session was closed with the duration of all audio that was sent."""
        closed = self.of("closed")
        return bool(closed) and abs(closed[0][1]["duration"] - self.sent / self.rate) < 0.01

    @property
    def lost_ms(self) -> int:
        """Milliseconds of audio that the server reported as lost."""
        return sum(event["ms"] for _, event in self.of("status") if event["status"] == "lost")

    def final_delays(self) -> list[float]:
        """Seconds from the end of speech to the arrival of each final that has words."""
        return [at - self.started - f["end"] for at, f in self.of("final") if f["text"]]


async def talk(
    port: int,
    pcm: np.ndarray,
    *,
    frame_ms: int = 40,
    delay: float = 0.0,
    rate: int = RATE,
    query: str = "",
) -> Session:
    """One session in real time, from the handshake to `closed`.

    `pcm`: int16 samples at `rate` Hz. `query`: further parameters of the URL, as `language=en`.
    """
    await asyncio.sleep(delay)
    session = Session(rate=rate)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = b64encode(os.urandom(16)).decode()
    writer.write(
        (
            f"GET /v1/stt/stream?sample_rate={rate}{query and '&' + query} HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    listening = asyncio.create_task(_listen(reader, writer, session))
    step = rate * frame_ms // 1000
    frames = [frame(pcm[at : at + step].tobytes()) for at in range(0, len(pcm), step)]
    session.started = time.monotonic()
    for number, data in enumerate(frames):
        writer.write(data)
        session.sent += (len(data) - (8 if len(data) > 131 else 6)) // 2
        wait = session.started + (number + 1) * step / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        if listening.done():
            return session
    writer.write(frame(b'{"type":"end"}', text=True))
    try:
        async with asyncio.timeout(600):
            await listening
    except TimeoutError:
        listening.cancel()
    writer.close()
    return session


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session) -> None:
    try:
        while True:
            head, size = await reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await reader.readexactly(8), "big")
            payload = await reader.readexactly(size)
            if head & 0x0F == 0x9:
                writer.write(bytes([0x8A, 0x80 | size]) + _MASK + payload)
            elif head & 0x0F == 0x8:
                return
            elif b'"type":"ack"' not in payload:
                event = json.loads(payload)
                session.events.append((time.monotonic(), event))
                if event["type"] == "error":
                    session.refused = event["code"]
                if event["type"] == "closed":
                    return
    except (asyncio.IncompleteReadError, ConnectionError):
        return


def loops(pcm: np.ndarray, count: int, seconds: float) -> list[np.ndarray]:
    """`count` recordings of `pcm` repeated, each beginning at a different place."""
    length = int(seconds * RATE)
    doubled = np.tile(pcm, length // len(pcm) + 2)
    return [doubled[(start := len(pcm) * n // count) : start + length] for n in range(count)]
