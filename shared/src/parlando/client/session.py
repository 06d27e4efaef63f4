"""A live session over Parlando's WebSocket protocol, with automatic resume.

async with connect("ws://127.0.0.1:8000") as session:
    await session.send(pcm)          # 16 kHz mono s16le
    await session.end()
    async for event in session:
        print(event["type"], event.get("text"))
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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

FIRST_PAUSE_S: Final = 0.2  # before the first reconnection; doubles up to …
LONGEST_PAUSE_S: Final = 3.0
MAX_UNACKED: Final = 60 * SAMPLE_RATE * BYTES_PER_SAMPLE  # maximum unacknowledged bytes before `send` waits
PING_EVERY_S: Final = 10.0
SILENT_S: Final = 20.0  # without any message after a ping, the connection is considered lost
KEEP_S: Final = 600.0  # maximum unsettled audio kept for resending
KEEP_MB: Final = 64.0

Event = dict[str, Any]
Token = str | Callable[[], Awaitable[str]]
"""A token in place of a key, or what returns a fresh one for each connection."""


class ClientError(Exception):
    """Raised when the server refuses a request or the session can't be resumed. `code`: the server's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.reason = message


class ClientSession:
    """One session. Iterate over it for events; `send`, `flush` and `end` may be called concurrently."""

    def __init__(
        self,
        urls: Sequence[str],
        options: dict[str, Any],
        api_key: str | None,
        give_up_s: float,
        connect_s: float | None = None,
        keep_s: float = KEEP_S,
        keep_mb: float = KEEP_MB,
        token: Token | None = None,
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._options = options
        self._format = AudioFormat(**{k: options[k] for k in AudioFormat.model_fields if k in options})
        self._unit = self._format.frame_bytes
        second = self._format.bytes_per_second
        limit = keep_mb * 1e6 if second is None else min(keep_mb * 1e6, keep_s * second)
        self._unsettled = Unsettled(limit=int(limit), whole=second is None)
        self._token: Token | None = token or api_key
        self._give_up_s = give_up_s
        self._connect_s = give_up_s if connect_s is None else connect_s
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._events: asyncio.Queue[Event | ClientError | None] = asyncio.Queue(maxsize=10_000)
        self._greeted = asyncio.Event()  # set by the first `connected`, or by a failure
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._throttled = False
        self._protected = True
        self._failed: ClientError | None = None
        self._received_at = 0.0
        self._seq = 0
        self._annotation = 0
        self._segments = 0
        self._settled_ms = 0
        self.id = ""
        """The session's id, known once connected."""
        self.resume_token = ""
        self.resumes = 0
        """Number of times the session was resumed after a lost connection."""

    # --- sending ------------------------------------------------------------------------------

    async def send(self, pcm: bytes) -> None:
        """Send audio bytes: 16 kHz mono s16le, or the format passed to `connect`.

        Waits while `MAX_UNACKED` bytes (2 MB) are unacknowledged.

        Raises
        ------
        ClientError
            if the session has failed permanently.

        """
        await self._ready()
        while self._unsettled.end - self._unsettled.stored >= MAX_UNACKED and not self._finished:
            self._room.clear()
            await self._room.wait()
        await self._ready()
        self._unsettled.add(pcm)
        self._more.set()

    @property
    def _finished(self) -> bool:
        return self._closing or self._failed is not None

    async def flush(self) -> None:
        """Request that all audio sent so far is settled; an event `flushed` reports it."""
        await self._control({"type": "flush"})

    async def configure(self, **changes: Any) -> None:
        """Change language, prompt, words, interim or vad_silence_ms from this position on."""
        await self._control({"type": "config", **changes})

    async def end(self) -> None:
        """End the audio. The remaining events follow, then `closed`."""
        await self._control({"type": "end"})

    async def _control(self, message: dict[str, Any]) -> None:
        """Queue a message after the audio so far; without a connection, the next one sends it in order."""
        await self._ready()
        self._unsettled.control(message)
        self._more.set()

    async def _ready(self) -> None:
        await self._greeted.wait()
        if self._failed is not None:
            raise self._failed

    async def _send_queued(self, socket: ClientConnection) -> None:
        """Send audio and controls in order until the connection closes."""
        try:
            while True:
                message = self._unsettled.next()
                if message is None:
                    self._more.clear()
                    await self._more.wait()
                else:
                    await socket.send(message)
        except ConnectionClosed:
            return

    async def _ping(self, socket: ClientConnection) -> None:
        """Abort a connection on which nothing arrives; not while the gateway throttles and reads nothing."""
        try:
            while True:
                await asyncio.sleep(PING_EVERY_S)
                pinged_at = time.monotonic()
                pong = asyncio.ensure_future(await socket.ping())
                await asyncio.wait([pong], timeout=SILENT_S)
                if not pong.done() and self._received_at < pinged_at and not self._throttled:
                    socket.transport.abort()
                    return
        except ConnectionClosed:
            return

    # --- receiving ----------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events as they arrive; ends after `closed`. Raises `ClientError`."""
        while True:
            event = await self._events.get()
            if isinstance(event, ClientError):
                raise event
            if event is None:
                return
            yield event

    async def run(self) -> None:
        """Stay connected and receive until the session closes. `connect` runs this in a task."""
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

    async def _credentials(self) -> dict[str, str]:
        """The header with the key or token. Raises `OSError` if there is no token now."""
        if not callable(self._token):
            return {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            return {"Authorization": f"Bearer {await self._token()}"}
        except Exception as error:
            raise OSError(f"no token: {error}") from error

    async def _once(self, url: str) -> None:
        """Run one connection, from the handshake to the session's `closed`."""
        target = f"{url}/v1/stt/stream?{urlencode(self._query())}"
        headers = await self._credentials()
        async with open_socket(
            target, additional_headers=headers, max_size=None, ping_interval=None
        ) as socket:
            self._throttled = False
            self._tasks = [asyncio.create_task(self._ping(socket))]
            try:
                async for message in socket:
                    self._received_at = time.monotonic()
                    event: Event = orjson.loads(message)
                    if await self._take(event, socket):
                        return
            finally:
                await end(*self._tasks)
        raise ConnectionError(f"the server closed the connection ({socket.close_code})")

    def _query(self) -> dict[str, Any]:
        """The query fields for opening a session, or for resuming it (reopening it if it was lost)."""
        if not self.resume_token:
            return self._options
        query = _flat({**self._options, **self._unsettled.config})
        query |= {"session_id": self.id, "resume": self.resume_token, "last_seq": self._seq}
        if self._annotation:
            query["last_annotation"] = self._annotation
        again = self._unsettled.again_from
        if again is not None:
            start_at = -(-again // self._unit)
            query |= {"start_at": start_at, "settled_ms": self._settled_ms, "segments": self._segments}
        return query

    async def _take(self, event: Event, socket: ClientConnection) -> bool:
        """Process one event. Returns True after `closed`."""
        match event["type"]:
            case "connected":
                await self._start(event, socket)
            case "ack":
                received = event["received"] * self._unit
                settled = event.get("settled")
                self._unsettled.acknowledge(received, received if settled is None else settled * self._unit)
                self._settled_ms = max(self._settled_ms, event.get("settled_ms", 0))
                self._room.set()
            case "status":
                self._throttled = event["status"] == "throttled"
            case "flushed":
                self._unsettled.flushed()
            case "error" if not event["retryable"]:
                raise ClientError(event["code"], event["message"])
            case "error" if event["code"] == "session_lost":
                if "seq" in event or self._unsettled.again_from is None:
                    raise ClientError(event["code"], event["message"])
                return False  # the server closes now; the next connection reopens the session
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
        await self._report_protection()
        if event["type"] == "closed":
            self._closing = True
            self._room.set()
            await self._events.put(None)
            return True
        return False

    def _settle(self, event: Event) -> None:
        if event["type"] == "final":
            self._segments = event["segment"] + 1
        if "settled" in event:
            self._unsettled.acknowledge(self._unsettled.stored, event["settled"] * self._unit)
            self._settled_ms = max(self._settled_ms, event["settled_ms"])

    async def _report_protection(self) -> None:
        """Emit `unprotected` once when unsettled audio is no longer kept."""
        if self._unsettled.protected != self._protected:
            self._protected = self._unsettled.protected
            if not self._protected:
                await self._events.put({"type": "unprotected", "kept": self._unsettled.size})

    async def _start(self, greeting: Event, socket: ClientConnection) -> None:
        self.id, self.resume_token = greeting["session_id"], greeting["resume_token"]
        received = greeting["received"] * self._unit
        if greeting.get("resumed"):
            self.resumes += 1
            self._unsettled.connected(received, anew=greeting.get("reopened", False))
            if greeting["state"] != "open":
                self._unsettled.finished()
            if greeting.get("reopened"):
                await self._report_missing()
            self._room.set()
        self._socket = socket
        self._tasks.append(asyncio.create_task(self._send_queued(socket)))
        self._greeted.set()

    async def _report_missing(self) -> None:
        """Emit a `lost` status for audio that is neither settled nor kept."""
        second = self._format.bytes_per_second
        if second is not None and self._unsettled.missing:
            ms = self._unsettled.missing * 1000 // second
            lost = {"status": "lost", "ms": ms, "reason": "unprotected"}
            await self._events.put({"type": "status", "session_id": self.id, **lost})

    async def _fail(self, error: ClientError) -> None:
        self._failed = error
        self._greeted.set()
        self._room.set()
        await self._events.put(error)

    def drop_connection(self) -> None:
        """Abort the TCP connection without a close frame (for testing resume)."""
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
    token: Token | None = None,
    give_up_s: float = 60.0,
    connect_s: float | None = None,
    keep_s: float = KEEP_S,
    keep_mb: float = KEEP_MB,
    **options: Any,
) -> AsyncIterator[ClientSession]:
    """Open a session at one gateway, or at one of several (each attempt tries the next).

    `token`: of `KeysClient.token`, in place of `api_key`; or an async function that returns one, which is
    called for each connection, because a token expires.

    `options` are the protocol's query fields: language, task, translations, prompt, hotwords, words, interim,
    vad_silence_ms, session_id, encoding, sample_rate, channels, channel, normalize, uid, annotations, songs,
    analyze. After a lost connection the client reconnects for up to `give_up_s` seconds without losing audio
    or events. The time-out of the first connection is `connect_s` (`give_up_s` if None).

    Audio is kept until it is settled, so that it can be resent if the cluster's Redis loses its data: at most
    `keep_s` seconds and `keep_mb` megabytes; a container completely or not at all. An event `unprotected`
    reports that unsettled audio is no longer kept.
    """
    urls = [url] if isinstance(url, str) else list(url)
    session = ClientSession(urls, _flat(options), api_key, give_up_s, connect_s, keep_s, keep_mb, token)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        session._closing = True
        await end(running)
