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

from parlando.client.unsettled import Unsettled
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.domain.formats import AudioFormat
from parlando.tasks import end

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 3.0
MAX_UNACKED: Final = 60 * SAMPLE_RATE * BYTES_PER_SAMPLE  # bytes; `send` waits when so many are out
PING_EVERY_S: Final = 10.0
SILENT_S: Final = 20.0  # without anything behind a ping, until the connection is taken for lost
KEEP_S: Final = 600.0  # of audio that isn't settled
KEEP_MB: Final = 64.0

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
        self,
        urls: Sequence[str],
        options: dict[str, Any],
        api_key: str | None,
        give_up_s: float,
        connect_s: float | None = None,
        keep_s: float = KEEP_S,
        keep_mb: float = KEEP_MB,
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._options = options
        self._format = AudioFormat(**{k: options[k] for k in AudioFormat.model_fields if k in options})
        self._unit = self._format.frame_bytes
        second = self._format.bytes_per_second
        limit = keep_mb * 1e6 if second is None else min(keep_mb * 1e6, keep_s * second)
        self._said = Unsettled(limit=int(limit), whole=second is None)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._give_up_s = give_up_s
        self._connect_s = give_up_s if connect_s is None else connect_s
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._events: asyncio.Queue[Event | ClientError | None] = asyncio.Queue(maxsize=10_000)
        self._greeted = asyncio.Event()  # once, by the first connection
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._throttled = False
        self._protected = True
        self._failed: ClientError | None = None
        self._heard_at = 0.0
        self._seq = 0
        self._annotation = 0
        self._segments = 0
        self._settled_ms = 0
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
        await self._ready()
        while self._said.end - self._said.stored >= MAX_UNACKED and self._failed is None:
            self._room.clear()
            await self._room.wait()
        await self._ready()
        self._said.add(pcm)
        self._more.set()

    async def flush(self) -> None:
        """Ask that everything sent so far be settled; `flushed` comes when it is."""
        await self._control({"type": "flush"})

    async def configure(self, **changes: Any) -> None:
        """Change language, prompt, words, interim or vad_silence_ms from here on."""
        await self._control({"type": "config", **changes})

    async def end(self) -> None:
        """Say that no more audio comes; the tail follows, then `closed`."""
        await self._control({"type": "end"})

    async def _control(self, message: dict[str, Any]) -> None:
        """Say something behind the audio so far; without a connection, the next one says it in its place."""
        await self._ready()
        self._said.control(message)
        self._more.set()

    async def _ready(self) -> None:
        await self._greeted.wait()
        if self._failed is not None:
            raise self._failed

    async def _talk(self, socket: ClientConnection) -> None:
        """Send what was said, in its order, for as long as the connection stands."""
        try:
            while True:
                message = self._said.next()
                if message is None:
                    self._more.clear()
                    await self._more.wait()
                else:
                    await socket.send(message)
        except ConnectionClosed:
            return

    async def _ping(self, socket: ClientConnection) -> None:
        """Cut a connection on which nothing comes any more, unless the gateway said that it doesn't read."""
        try:
            while True:
                await asyncio.sleep(PING_EVERY_S)
                pinged_at = time.monotonic()
                pong = asyncio.ensure_future(await socket.ping())
                await asyncio.wait([pong], timeout=SILENT_S)
                if not pong.done() and self._heard_at < pinged_at and not self._throttled:
                    socket.transport.abort()
                    return
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
                if self._socket is not None:
                    self._socket = None
                    broken_since, pause = None, FIRST_PAUSE_S
                broken_since = broken_since or time.monotonic()
                if self._closing:
                    return
                patience_s = self._give_up_s if self.resume_token else self._connect_s
                if time.monotonic() - broken_since > patience_s:
                    await self._fail(ClientError("unreachable", f"{self._urls}: {error}"))
                    return
                attempt += 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _once(self, url: str) -> None:
        """One connection, from the handshake to the session's `closed`."""
        target = f"{url}/v1/stt/stream?{urlencode(self._query())}"
        async with open_socket(
            target, additional_headers=self._headers, max_size=None, ping_interval=None
        ) as socket:
            self._throttled = False
            self._tasks = [asyncio.create_task(self._ping(socket))]
            try:
                async for message in socket:
                    self._heard_at = time.monotonic()
                    event: Event = orjson.loads(message)
                    if await self._take(event, socket):
                        return
            finally:
                await end(*self._tasks)
        raise ConnectionError(f"the server closed the connection ({socket.close_code})")

    def _query(self) -> dict[str, Any]:
        """A new session's options; or what a resume needs, and a cluster that has lost the session."""
        if not self.resume_token:
            return self._options
        query = _flat({**self._options, **self._said.config})
        query |= {"session_id": self.id, "resume": self.resume_token, "last_seq": self._seq}
        if self._annotation:
            query["last_annotation"] = self._annotation
        again = self._said.again_from
        if again is not None:
            start_at = -(-again // self._unit)
            query |= {"start_at": start_at, "settled_ms": self._settled_ms, "segments": self._segments}
        return query

    async def _take(self, event: Event, socket: ClientConnection) -> bool:
        """Handle one event; True behind `closed`."""
        match event["type"]:
            case "connected":
                await self._start(event, socket)
            case "ack":
                received = event["received"] * self._unit
                settled = event.get("settled")
                self._said.acknowledge(received, received if settled is None else settled * self._unit)
                self._settled_ms = max(self._settled_ms, event.get("settled_ms", 0))
                self._room.set()
            case "status":
                self._throttled = event["status"] == "throttled"
            case "flushed":
                self._said.flushed()
            case "error" if not event["retryable"]:
                raise ClientError(event["code"], event["message"])
            case "error" if event["code"] == "session_lost":
                if "seq" in event or self._said.again_from is None:
                    raise ClientError(event["code"], event["message"])
                return False  # the server closes now; the next connection opens the session anew
            case "error" if event["code"] == "at_capacity":
                if not self.resume_token:
                    raise ClientError(event["code"], event["message"])
                return False
        if event["type"] == "annotation":
            self._annotation = event["number"]
        if "seq" in event and event["type"] != "connected":
            self._seq = event["seq"]
            self._settle(event)
        await self._events.put(event)
        await self._tell_protection()
        if event["type"] == "closed":
            self._closing = True
            await self._events.put(None)
            return True
        return False

    def _settle(self, event: Event) -> None:
        if event["type"] == "final":
            self._segments = event["segment"] + 1
        if "settled" in event:
            self._said.acknowledge(self._said.stored, event["settled"] * self._unit)
            self._settled_ms = max(self._settled_ms, event["settled_ms"])

    async def _tell_protection(self) -> None:
        """Say once when audio that isn't settled is kept no longer."""
        if self._said.protected != self._protected:
            self._protected = self._said.protected
            if not self._protected:
                await self._events.put({"type": "unprotected", "kept": self._said.size})

    async def _start(self, greeting: Event, socket: ClientConnection) -> None:
        self.id, self.resume_token = greeting["session_id"], greeting["resume_token"]
        received = greeting["received"] * self._unit
        if greeting.get("resumed"):
            self.resumes += 1
            self._said.connected(received, anew=greeting.get("reopened", False))
            if greeting["state"] != "open":
                self._said.finished()
            if greeting.get("reopened"):
                await self._tell_missing()
            self._room.set()
        self._socket = socket
        self._tasks.append(asyncio.create_task(self._talk(socket)))
        self._greeted.set()

    async def _tell_missing(self) -> None:
        second = self._format.bytes_per_second
        if second is not None and self._said.missing:
            ms = self._said.missing * 1000 // second
            lost = {"status": "lost", "ms": ms, "reason": "unprotected"}
            await self._events.put({"type": "status", "session_id": self.id, **lost})

    async def _fail(self, error: ClientError) -> None:
        self._failed = error
        self._greeted.set()
        self._room.set()
        await self._events.put(error)

    def drop_connection(self) -> None:
        """Cut the TCP connection without a goodbye (for trying resume out)."""
        if self._socket is not None:
            self._socket.transport.abort()


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    """Options as query fields."""
    return {k: str(v).lower() if isinstance(v, bool) else v for k, v in options.items() if v is not None}


@asynccontextmanager
async def connect(
    url: str | Sequence[str] = "ws://127.0.0.1:8000",
    *,
    api_key: str | None = None,
    give_up_s: float = 60.0,
    connect_s: float | None = None,
    keep_s: float = KEEP_S,
    keep_mb: float = KEEP_MB,
    **options: Any,
) -> AsyncIterator[ClientSession]:
    """A session at one gateway, or at whichever of several answers.

    `options` are the protocol's query fields: language, prompt, words, interim, vad_silence_ms,
    session_id, encoding, sample_rate, channels, channel, normalize, uid. A lost connection is made
    again for up to `give_up_s` seconds, and nothing is lost; the first one must stand within `connect_s`
    (`give_up_s` if that's None).

    Audio is kept until it is settled, so that nothing is lost either if the cluster's Redis loses its data:
    at most `keep_s` seconds and `keep_mb` megabytes, a container whole or not at all. An event `unprotected`
    says when that doesn't suffice.
    """
    urls = [url] if isinstance(url, str) else list(url)
    session = ClientSession(urls, _flat(options), api_key, give_up_s, connect_s, keep_s, keep_mb)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        session._closing = True
        await end(running)
