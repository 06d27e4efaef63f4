"""A live session over our own WebSocket protocol, with automatic resume.

async with connect("ws://127.0.0.1:8000") as session:
    await session.send(pcm)          # 16 kHz mono s16le
    await session.end()
    async for event in session:
        print(event["type"], event.get("text"))
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from parlando.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.client.ring import UnackedAudio
from parlando.formats import AudioFormat
from parlando.tasks import end

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 3.0
MOST_UNACKED: Final = 60 * SAMPLE_RATE * BYTES_PER_SAMPLE  # bytes; `send` waits when so many are out

Event = dict[str, Any]


class ClientError(Exception):
    """Raised when the server refuses or the session can't be resumed; `code` is the server's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.reason = message


class ClientSession:
    """One session. Iterate it for events; `send`, `flush` and `end` may be called meanwhile."""

    def __init__(
        self, urls: Sequence[str], options: dict[str, Any], api_key: str | None, give_up_s: float
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._options = options
        self._unit = AudioFormat(
            **{k: options[k] for k in AudioFormat.model_fields if k in options}
        ).frame_bytes
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._give_up_s = give_up_s
        self._socket: ClientConnection | None = None
        self._unacked = UnackedAudio()
        self._events: asyncio.Queue[Event | ClientError | None] = asyncio.Queue(maxsize=10_000)
        self._connected = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self._ended = False
        self._failed: ClientError | None = None
        self._seq = 0
        self.id = ""
        """The session's id, known once connected."""
        self.resume_token = ""
        self.resumes = 0
        """How often the connection was lost and made again."""

    # --- sending ------------------------------------------------------------------------------

    async def send(self, pcm: bytes) -> None:
        """Send audio bytes: 16 kHz mono s16le, or what `connect` was told. Waits while too much of it
        (2 MB) is unacknowledged.

        Raises
        ------
        ClientError
            if the session has failed for good.

        """
        while self._unacked.size >= MOST_UNACKED and self._failed is None:
            self._room.clear()
            await self._room.wait()
        await self._ready()
        self._unacked.add(pcm)
        await self._try(pcm)

    async def flush(self) -> None:
        """Ask that everything sent so far be settled; `flushed` comes when it is."""
        await self._ready()
        await self._try('{"type":"flush"}')

    async def configure(self, **changes: Any) -> None:
        """Change language, prompt, words, interim or vad_silence_ms from here on."""
        await self._ready()
        await self._try(orjson.dumps({"type": "config", **changes}).decode())

    async def end(self) -> None:
        """Say that no more audio comes; the tail follows, then `closed`."""
        await self._ready()
        self._ended = True
        await self._try('{"type":"end"}')

    async def _ready(self) -> None:
        if self._failed is not None:
            raise self._failed
        await self._connected.wait()
        if self._failed is not None:
            raise self._failed

    async def _try(self, message: str | bytes) -> None:
        """Send, or leave it to the resume: audio is sent again then, and so is the end."""
        if self._socket is None:
            return
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            return

    # --- receiving ----------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events as they come; ends behind `closed`. Raises `ClientError`."""
        while True:
            event = await self._events.get()
            if isinstance(event, ClientError):
                raise event
            if event is None:
                return
            yield event

    async def run(self) -> None:
        """Keep connected and receive until the session closes (`connect` does this for you)."""
        broken_since: float | None = None
        pause = FIRST_PAUSE_S
        attempt = 0
        while not self._closing:
            try:
                await self._once(self._urls[attempt % len(self._urls)])
                return
            except ClientError as error:
                await self._fail(error)
                return
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError) as error:
                if self._connected.is_set():
                    self._connected.clear()
                    broken_since, pause = None, FIRST_PAUSE_S
                broken_since = broken_since or time.monotonic()
                if self._closing:
                    return
                if time.monotonic() - broken_since > self._give_up_s:
                    await self._fail(ClientError("unreachable", f"{self._urls}: {error}"))
                    return
                attempt += 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _once(self, url: str) -> None:
        """One connection, from the handshake to the session's `closed`."""
        options = self._options
        if self.resume_token:
            options = {**options, "session_id": self.id, "resume": self.resume_token, "last_seq": self._seq}
        target = f"{url}/v1/stt/stream?{urlencode(options)}"
        async with open_socket(target, additional_headers=self._headers, max_size=None) as socket:
            async for message in socket:
                event: Event = orjson.loads(message)
                if await self._take(event, socket):
                    return
        raise ConnectionError(f"the server closed the connection ({socket.close_code})")

    async def _take(self, event: Event, socket: ClientConnection) -> bool:
        """Handle one event; True behind `closed`."""
        match event["type"]:
            case "connected":
                await self._start(event, socket)
            case "ack":
                self._unacked.acknowledge(event["received"] * self._unit)
                self._room.set()
            case "error" if not event["retryable"]:
                raise ClientError(event["code"], event["message"])
            case "error" if event["code"] in ("session_lost", "at_capacity"):
                raise ClientError(event["code"], event["message"])
        if "seq" in event and event["type"] != "connected":
            self._seq = event["seq"]
        await self._events.put(event)
        if event["type"] == "closed":
            self._closing = True
            await self._events.put(None)
            return True
        return False

    async def _start(self, greeting: Event, socket: ClientConnection) -> None:
        self.id, self.resume_token = greeting["session_id"], greeting["resume_token"]
        self._socket = socket
        if greeting.get("resumed"):
            self.resumes += 1
            self._unacked.acknowledge(greeting["received"] * self._unit)
            self._room.set()
            for frame in self._unacked.pending():
                await socket.send(frame)
            if self._ended and greeting["state"] == "open":
                await socket.send('{"type":"end"}')
        self._connected.set()

    async def _fail(self, error: ClientError) -> None:
        self._failed = error
        self._connected.set()
        self._room.set()
        await self._events.put(error)

    def drop_connection(self) -> None:
        """Cut the TCP connection without a goodbye (for trying resume out)."""
        if self._socket is not None:
            self._socket.transport.abort()


@asynccontextmanager
async def connect(
    url: str | Sequence[str] = "ws://127.0.0.1:8000",
    *,
    api_key: str | None = None,
    give_up_s: float = 60.0,
    **options: Any,
) -> AsyncIterator[ClientSession]:
    """A session at one gateway, or at whichever of several answers.

    `options` are the protocol's query fields: language, prompt, words, interim, vad_silence_ms,
    session_id, encoding, sample_rate, channels, channel, normalize, uid. A lost connection is made
    again for up to `give_up_s` seconds, and nothing is lost.
    """
    values = {k: str(v).lower() if isinstance(v, bool) else v for k, v in options.items() if v is not None}
    session = ClientSession([url] if isinstance(url, str) else list(url), values, api_key, give_up_s)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        session._closing = True
        await end(running)
