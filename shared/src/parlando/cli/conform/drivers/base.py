"""The interface of a dialect's driver: a minimal client, written for the wire and without an SDK."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import numpy as np
import orjson
from websockets.asyncio.client import connect

from parlando.cli.conform.received import Received
from parlando.domain.audio import SAMPLE_RATE, Pcm16
from parlando.tasks import end

MAX_MESSAGE: Final = 1 << 24
CONNECT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """The host under test. `url`: `http…`, and a path if it isn't the dialect's. `speed`: 0 for no pauses."""

    url: str
    key: str | None
    speed: float = 1.0

    @property
    def socket_url(self) -> str:
        """The URL for WebSockets."""
        return self.url.replace("http", "ws", 1).rstrip("/")


class Driver(ABC):
    """A dialect. `summary`: its name for people, with its route."""

    name: ClassVar[str]
    summary: ClassVar[str]

    def __init__(self, target: Target) -> None:
        self.target = target
        self.received = Received()

    @abstractmethod
    async def transcribe(self, clip: Pcm16) -> Received:
        """Send 16 kHz mono `clip`, and what ends it, and collect until the connection is closed.

        Raises
        ------
        OSError, websockets.exceptions.WebSocketException
            if the host can't be reached or refuses the connection.

        """

    # --- for drivers on WebSockets ----------------------------------------------------------------

    def connected(self, path: str, headers: dict[str, str] | None = None, **options: Any) -> connect:
        """A connection to `path`, unless the target has a path; a context manager. Sends a bearer token."""
        bearer = {"Authorization": f"Bearer {self.target.key}"} if self.target.key else {}
        base = urlsplit(self.target.socket_url)
        if base.path:  # the host's own, instead of the dialect's
            path = f"?{urlsplit(path).query}"
        return connect(
            base.geturl() + path,
            additional_headers=bearer if headers is None else headers,
            max_size=MAX_MESSAGE,
            open_timeout=CONNECT_S,
            **options,
        )

    async def paced(
        self, samples: Pcm16, rate: int = SAMPLE_RATE, frame_s: float = 0.1
    ) -> AsyncIterator[bytes]:
        """The bytes of `samples` in frames, in time with `target.speed`."""
        loop = asyncio.get_running_loop()
        started, size = loop.time(), int(rate * frame_s)
        for at in range(0, len(samples), size):
            if self.target.speed:
                await asyncio.sleep(max(0.0, started + at / rate / self.target.speed - loop.time()))
            yield samples[at : at + size].tobytes()


class SocketDriver(Driver):
    """A dialect with JSON messages over a WebSocket that the service closes at the end.

    `before`, `last`: the messages in front of the audio and behind it. The audio is sent as binary messages.
    """

    path: ClassVar[str]
    before: ClassVar[tuple[dict[str, Any], ...]] = ()
    last: ClassVar[dict[str, Any]]

    def headers(self) -> dict[str, str] | None:
        """The headers of the handshake; None for a bearer token."""
        return None

    @abstractmethod
    def take(self, message: dict[str, Any]) -> None:
        """Note in `received` what a message of the service says."""

    async def transcribe(self, clip: Pcm16) -> Received:
        """See `Driver`."""
        async with self.connected(self.path, self.headers()) as socket:

            async def send() -> None:
                for message in self.before:
                    await socket.send(text_of(message))
                async for frame in self.paced(clip):
                    await socket.send(frame)
                await socket.send(text_of(self.last))

            sending = asyncio.create_task(send())
            try:
                async for message in socket:
                    if isinstance(message, str):
                        self.take(orjson.loads(message))
            finally:
                await end(sending)
            self.received.close(socket.close_code)
        return self.received


def text_of(message: dict[str, Any]) -> str:
    """A message as JSON text."""
    return orjson.dumps(message).decode()


def resampled(samples: Pcm16, rate: int) -> Pcm16:
    """16 kHz samples at a higher rate, by linear interpolation: good enough for speech."""
    count = len(samples) * rate // SAMPLE_RATE
    at = np.arange(count) * (SAMPLE_RATE / rate)
    between: Pcm16 = np.interp(at, np.arange(len(samples)), samples).round().astype(np.int16)
    return between
