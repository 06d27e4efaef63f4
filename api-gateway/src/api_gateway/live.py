"""One live socket: audio into Redis, events out of it, back-pressure, resume.

A connection holds nothing that matters: audio is in Redis before it's acknowledged, events come from
there, and another connection, on any gateway, can take over at any moment.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from api_gateway import metrics
from api_gateway.dialects.base import Audio, Command, Configure, End, Flush, Ping, Start
from api_gateway.relay import Relay
from api_gateway.settings import GatewaySettings
from parlando.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmDecoder, milliseconds
from parlando.errors import InvalidRequestError, ParlandoError, SessionLostError
from parlando.redislog.writer import SessionWriter

LARGEST_ENTRY: Final = SAMPLE_RATE * BYTES_PER_SAMPLE  # bytes of one stream entry: a second
MOST_BUFFERED: Final = 8 * LARGEST_ENTRY  # bytes read from the socket but not stored
MOST_MISTAKES: Final = 20  # messages not understood before the socket is closed
FULL_RETRY_S: Final = 0.1
TOUCH_EVERY_S: Final = 5.0
WATCH_EVERY_S: Final = 0.25


class IdleError(ParlandoError):
    """Raised when a client says nothing for too long."""

    code = "idle"
    retryable = True


class Finished(Exception):
    """Raised in a connection's tasks when all is said; `code` is the WebSocket close code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ClientGone(Exception):
    """Raised when the client has left."""


class Socket(Protocol):
    """What a connection needs of a WebSocket; `receive` raises `ClientGone`."""

    async def receive(self) -> str | bytes:
        """The next message."""
        ...

    async def send(self, message: str) -> None:
        """Send a text message."""
        ...


@dataclass(slots=True)
class _Chunk:
    pcm: bytes
    index: int | None


class LiveConnection:
    """Runs one connection of one session, in whichever dialect, until it ends."""

    def __init__(
        self,
        socket: Socket,
        writer: SessionWriter,
        relay: Relay,
        *,
        settings: GatewaySettings,
        decoder: PcmDecoder,
        read: Callable[[str | bytes], Command],
        write: Callable[[bytes], str],
    ) -> None:
        self._socket = socket
        self._writer = writer
        self._relay = relay
        self._settings = settings
        self._decoder = decoder
        self._read = read
        self._write = write
        self._queue: deque[_Chunk | Command] = deque()
        self._buffered = 0
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._opened_at = self._heard_at = self._audio_at = time.monotonic()
        self._audio_open = False
        self._acked_at = 0.0
        self._mistakes = 0
        self._ended = False

    async def run(self, first: Command | None = None) -> None:
        """Serve until the session is closed or the client leaves.

        Raises
        ------
        Finished
            when the session has closed, with the close code.
        ClientGone, ParlandoError

        """
        if first is not None:
            self._accept(first)
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._receive(), self._store(), self._deliver(), self._watch()):
                    group.create_task(loop)
        except* ParlandoError as errors:
            raise _first(errors) from None
        except* (Finished, ClientGone) as ends:
            raise _first(ends) from None

    # --- from the socket --------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            while self._buffered >= MOST_BUFFERED:  # not reading is how a client is told to wait
                self._less.clear()
                await self._less.wait()
            message = await self._socket.receive()
            self._heard_at = time.monotonic()
            try:
                self._accept(self._read(message))
            except InvalidRequestError as error:
                self._mistakes += 1
                if self._mistakes >= MOST_MISTAKES:
                    raise
                await self._say(type="error", code=error.code, message=error.message, retryable=False)

    def _accept(self, command: Command) -> None:
        if self._ended:
            return
        if isinstance(command, Audio):
            pcm = self._decoder.push(command.data)
            self._buffered += len(pcm)
            self._queue.append(_Chunk(pcm, command.index))
            self._audio_at = time.monotonic()
            self._audio_open = True
        else:
            if isinstance(command, Start):
                self._restart(command)
            self._queue.append(command)
            self._ended = isinstance(command, End)
        self._more.set()

    def _restart(self, start: Start) -> None:
        """A `start` behind the greeting: it may still say how the audio comes."""
        if self._audio_at > self._opened_at:
            raise InvalidRequestError("Expected start before the first audio, but audio has come already")
        self._decoder = PcmDecoder(start.encoding)

    # --- into Redis -------------------------------------------------------------------------------

    async def _store(self) -> None:
        while True:
            if not self._queue:
                self._more.clear()
                await self._more.wait()
            item = self._queue.popleft()
            if isinstance(item, _Chunk):
                await self._store_chunks(item)
            else:
                await self._obey(item)

    async def _store_chunks(self, first: _Chunk) -> None:
        """Store a chunk, and with it those that came meanwhile, up to a second in one entry."""
        chunks, size = [first], len(first.pcm)
        while self._queue and isinstance(following := self._queue[0], _Chunk):
            if size + len(following.pcm) > LARGEST_ENTRY:
                break
            chunks.append(following)
            size += len(following.pcm)
            self._queue.popleft()
        pcm = b"".join(chunk.pcm for chunk in chunks)
        for start in range(0, len(pcm), LARGEST_ENTRY):
            await self._append(pcm[start : start + LARGEST_ENTRY])
        self._buffered -= size
        self._less.set()
        await self._acknowledge([chunk.index for chunk in chunks if chunk.index is not None])

    async def _append(self, pcm: bytes) -> None:
        most = int(self._settings.buffer_max_s * SAMPLE_RATE)
        throttled = False
        with metrics.APPEND.time():
            appended = await self._writer.append(pcm, most)
        while not appended.stored:
            if not throttled:
                throttled = True
                metrics.THROTTLED.inc()
                await self._status("throttled", milliseconds(appended.backlog), "backlog")
            await asyncio.sleep(FULL_RETRY_S)
            self._heard_at = self._audio_at = time.monotonic()  # it's us who don't read
            appended = await self._writer.append(pcm, most)
        if throttled:
            await self._status("flowing", milliseconds(appended.backlog), "backlog")
        metrics.AUDIO.inc(len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE)

    async def _acknowledge(self, indexes: list[int]) -> None:
        received = self._writer.received
        told = {"type": "ack", "received": received, "received_ms": milliseconds(received)}
        for index in indexes:
            await self._say(**told, chunk_index=index)
        now = time.monotonic()
        if indexes:
            self._acked_at = now
        elif (now - self._acked_at) * 1000 >= self._settings.ack_interval_ms:
            self._acked_at = now
            await self._say(**told)

    async def _obey(self, command: Command) -> None:
        match command:
            case Configure(changes) | Start(changes=changes) if changes:
                await self._writer.control({"type": "config", "config": changes})
            case Flush():
                await self._writer.control({"type": "flush"})
                self._audio_open = False
            case End():
                await self._writer.control({"type": "end", "reason": "end"}, ends=True)
                self._audio_open = False
            case Ping():
                await self._say(type="pong")

    # --- to the client ----------------------------------------------------------------------------

    async def _deliver(self) -> None:
        async for batch in self._relay.batches():
            for event in batch:
                await self._socket.send(self._write(event))
                if b'"type":"closed"' in event and orjson.loads(event)["type"] == "closed":
                    raise Finished(1000)

    async def _say(self, **message: Any) -> None:
        await self._socket.send(orjson.dumps(message).decode())

    async def _status(self, status: str, ms: int, reason: str) -> None:
        await self._say(type="status", session_id=self._writer.sid, status=status, ms=ms, reason=reason)

    async def _watch(self) -> None:
        """Keep the session alive in Redis; settle stalled audio; give up on a silent client."""
        touched = 0.0
        while True:
            now = time.monotonic()
            if now - touched >= TOUCH_EVERY_S and not self._ended:
                await self._writer.touch()
                touched = now
            if self._audio_open and not self._ended and now - self._audio_at >= self._settings.stall_flush_s:
                self._audio_open = False
                await self._writer.control({"type": "settle"})
            if now - self._heard_at >= self._settings.idle_timeout_s:
                if not self._ended:
                    await self._writer.control({"type": "end", "reason": "idle"}, ends=True)
                raise IdleError(f"Nothing was heard for {self._settings.idle_timeout_s:g} s")
            await asyncio.sleep(WATCH_EVERY_S)

    async def leave(self) -> None:
        """Say that the client was here until now; its resume window begins."""
        if self._ended:
            return
        try:
            await self._writer.touch()
        except SessionLostError:
            return  # nothing is left to come back to


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
