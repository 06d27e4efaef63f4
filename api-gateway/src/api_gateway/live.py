"""One live socket: audio into Redis, events out of it, back-pressure, resume.

A connection holds nothing that matters: audio is in Redis before it's acknowledged, events come from
there, and another connection, on any gateway, can take over at any moment.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from api_gateway import metrics
from api_gateway.dialects.base import Audio, Command, Configure, Dialect, End, Flush, Ping, Start
from api_gateway.relay import Relay
from api_gateway.settings import GatewaySettings
from parlando.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmDecoder, WholeFrames, milliseconds
from parlando.errors import (
    InvalidRequestError,
    ParlandoError,
    SessionClosedError,
    SessionLostError,
    TooManyControlsError,
)
from parlando.events import age_s
from parlando.formats import AudioFormat
from parlando.redislog.writer import SessionWriter

LARGEST_ENTRY: Final = SAMPLE_RATE * BYTES_PER_SAMPLE  # bytes of one stream entry: a second of PCM
MOST_BUFFERED: Final = 8 * LARGEST_ENTRY  # bytes read from the socket but not stored
COMMAND_BYTES: Final = 4096  # what a message without audio counts among them
CHUNK_BYTES: Final = 512  # and a message with audio beside that, which may be empty
MOST_UNCONVERTED: Final = 4 << 20  # bytes of a container that may wait for FFmpeg
MOST_UNCONVERTED_S: Final = 10  # seconds of raw audio that may
MOST_MISTAKES: Final = 20  # messages not understood before the socket is closed
FULL_RETRY_S: Final = 0.1
TOUCH_EVERY_S: Final = 5.0
WATCH_EVERY_S: Final = 0.25
PAUSED_S: Final = 0.5  # a look that comes so much too late shows that this process was stopped or starved


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


def decoder_of(form: AudioFormat) -> PcmDecoder | WholeFrames:
    """What makes whole samples of a connection's bytes, so that a resume falls between two of them."""
    return PcmDecoder(form.encoding) if form.direct else WholeFrames(form.frame_bytes)


def received_by(writer: SessionWriter) -> dict[str, int]:
    """What is safely stored, for the client: samples at its own rate, or bytes of a container."""
    position, form = writer.position, writer.format
    if form.whole:
        return {"received": position}
    return {"received": position, "received_ms": position * 1000 // form.sample_rate}


@dataclass(slots=True)
class _Chunk:
    pcm: bytes
    index: int | None


def _cost(item: _Chunk | Command) -> int:
    """Bytes of `MOST_BUFFERED` that a queued message takes."""
    return CHUNK_BYTES + len(item.pcm) if isinstance(item, _Chunk) else COMMAND_BYTES


class LiveConnection:
    """Runs one connection of one session, in whichever dialect, until it ends."""

    def __init__(
        self,
        socket: Socket,
        writer: SessionWriter,
        relay: Relay,
        *,
        settings: GatewaySettings,
        dialect: Dialect,
        reformat: Callable[[AudioFormat], Awaitable[None]] | None = None,
        check_language: Callable[[str | None], Awaitable[None]] | None = None,
        idle_s: float | None = None,
        seen: int = 0,
    ) -> None:
        self._socket = socket
        self._writer = writer
        self._relay = relay
        self._settings = settings
        self._dialect = dialect
        self._reformat = reformat
        self._check_language = check_language
        self._idle_s = idle_s or settings.idle_timeout_s
        self._decoder = decoder_of(writer.format)
        self._queue: deque[_Chunk | Command] = deque()
        self._buffered = 0
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._opened_at = self._heard_at = self._audio_at = time.monotonic()
        self._audio_open = False
        self._acked_at = 0.0
        self._seen = seen  # the last kept event that the client was sent
        self._settled = 0
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
        except ExceptionGroup as ends:
            raise _reason(ends) from None

    # --- from the socket --------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            while self._buffered >= MOST_BUFFERED:  # not reading is how a client is told to wait
                self._less.clear()
                await self._less.wait()
            message = await self._socket.receive()
            self._heard_at = time.monotonic()
            try:
                command = self._dialect.read(message)
                if isinstance(command, Ping):  # also behind the end, while the tail is recognised
                    await self._say(type="pong")
                    continue
                if isinstance(command, Start | Configure) and self._check_language is not None:
                    await self._check_language(command.changes.get("language"))
                if isinstance(command, Start):
                    await self._restart(command)
                self._accept(command)
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
            self._queue.append(_Chunk(pcm, command.index))
            self._audio_at = time.monotonic()
            self._audio_open = True
        else:
            self._queue.append(command)
            self._ended = isinstance(command, End)
        self._buffered += _cost(self._queue[-1])
        self._more.set()

    async def _restart(self, start: Start) -> None:
        """A `start` behind the greeting: it may still say how the audio comes."""
        if self._audio_at > self._opened_at or self._writer.received:
            raise InvalidRequestError("Expected start before the first audio, but audio has come already")
        if start.format != self._writer.format and self._reformat is not None:
            await self._reformat(start.format)
        self._decoder = decoder_of(self._writer.format)

    # --- into Redis -------------------------------------------------------------------------------

    async def _store(self) -> None:
        while True:
            if not self._queue:
                self._more.clear()
                await self._more.wait()
            item = self._queue.popleft()
            try:
                if isinstance(item, _Chunk):
                    await self._store_chunks(item)
                else:
                    self._forget([item])
                    await self._obey(item)
            except TooManyControlsError as error:
                await self._say(
                    type="error", code=error.code, message=error.message, retryable=error.retryable
                )
            except SessionClosedError:
                if not self._writer.received:
                    raise
                self._ended = True  # a worker has ended it, for its audio is none, say: the events tell why
                return

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
        self._forget(chunks)
        await self._acknowledge([chunk.index for chunk in chunks if chunk.index is not None])

    def _forget(self, done: Sequence[_Chunk | Command]) -> None:
        self._buffered -= sum(map(_cost, done))
        self._less.set()

    async def _append(self, pcm: bytes) -> None:
        throttled, most = False, self._most_backlog
        second = self._writer.format.bytes_per_second
        asked_at = time.monotonic()
        appended = await self._writer.append(pcm, most)
        metrics.APPEND.observe(took := time.monotonic() - asked_at)
        metrics.STAGES.observe("store", took)
        while not appended.stored:
            if not throttled:
                throttled = True
                metrics.THROTTLED.inc()
                await self._status("throttled", self._ms(appended.backlog), "backlog")
            await asyncio.sleep(FULL_RETRY_S)
            self._heard_at = self._audio_at = time.monotonic()  # it's us who don't read
            appended = await self._writer.append(pcm, most)
        if throttled:
            await self._status("flowing", self._ms(appended.backlog), "backlog")
        metrics.BYTES.inc(len(pcm))
        if second is not None:
            metrics.AUDIO.inc(len(pcm) / second)

    @property
    def _most_backlog(self) -> int:
        """Samples, or bytes where FFmpeg makes the audio of them, that may wait in Redis."""
        form = self._writer.format
        if form.direct:
            return int(self._settings.buffer_max_s * SAMPLE_RATE)
        second = form.bytes_per_second
        return MOST_UNCONVERTED if second is None else MOST_UNCONVERTED_S * second

    def _ms(self, backlog: int) -> int:
        second = self._writer.format.bytes_per_second
        if self._writer.format.direct:
            return milliseconds(backlog)
        return 0 if second is None else backlog * 1000 // second

    async def _acknowledge(self, indexes: list[int]) -> None:
        told = {"type": "ack", **received_by(self._writer), **self._settled_by_now()}
        for index in indexes:
            await self._say(**told, chunk_index=index)
        now = time.monotonic()
        if indexes:
            self._acked_at = now
        elif (now - self._acked_at) * 1000 >= self._settings.ack_interval_ms:
            self._acked_at = now
            await self._say(**told)

    def _settled_by_now(self) -> dict[str, int]:
        """Before where all audio is in finals that the client was sent: it needn't be kept any more."""
        samples, seq = self._writer.settled
        if seq <= self._seen:
            self._settled = max(self._settled, samples)
        settled = self._writer.format.settled(self._settled)
        return {"settled": settled, "settled_ms": milliseconds(self._settled)}

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

    # --- to the client ----------------------------------------------------------------------------

    async def _deliver(self) -> None:
        async for batch in self._relay.batches():
            for event in batch:
                message = self._dialect.event(event.raw)
                if message is not None:
                    await self._socket.send(message)
                self._seen = event.seq or self._seen
                if event.type == "partial":
                    metrics.STAGES.observe("deliver", age_s(event.body["timestamp"]))
                if event.type == "closed":
                    raise Finished(1003 if event.body["reason"] == "invalid_audio" else 1000)

    async def _say(self, **message: Any) -> None:
        said = self._dialect.say(**message)
        if said is not None:
            await self._socket.send(said)

    async def _status(self, status: str, ms: int, reason: str) -> None:
        await self._say(type="status", session_id=self._writer.sid, status=status, ms=ms, reason=reason)

    async def _watch(self) -> None:
        """Keep the session alive in Redis; settle stalled audio; give up on a silent client."""
        touched = 0.0
        often = min(TOUCH_EVERY_S, self._settings.resume_window_s / 3)
        looked_at = time.monotonic()
        while True:
            now = time.monotonic()
            if (paused := now - looked_at - WATCH_EVERY_S) > PAUSED_S:  # this process, not the client
                self._heard_at += paused
                self._audio_at += paused
            try:
                if now - touched >= often and not self._ended:
                    await self._writer.touch()
                    touched = now
                stalled = now - self._audio_at >= self._settings.stall_flush_s
                if self._audio_open and not self._ended and stalled:
                    self._audio_open = False
                    await self._writer.control({"type": "settle"})
                if now - self._heard_at >= self._idle_s:
                    if not self._ended:
                        await self._writer.control({"type": "end", "reason": "idle"}, ends=True)
                    raise IdleError(f"Nothing was heard for {self._idle_s:g} s")
            except TooManyControlsError:
                pass  # those that wait settle it
            except SessionClosedError:
                self._ended = True  # a worker has ended it: the events tell why
            looked_at = time.monotonic()
            await asyncio.sleep(WATCH_EVERY_S)

    async def leave(self) -> None:
        """Say that the client was here until now; its resume window begins."""
        if self._ended:
            return
        try:
            await self._writer.touch()
        except (SessionLostError, SessionClosedError):
            return  # nothing is left to come back to


def _reason(group: ExceptionGroup[Exception]) -> Exception:
    """What ended a connection whose loops ended at once: a mistake of ours, or else what says most."""
    kinds = (Finished, ClientGone, ParlandoError)
    if all(isinstance(end, kinds) for end in group.exceptions):
        return min(group.exceptions, key=lambda end: [isinstance(end, kind) for kind in kinds].index(True))
    return group
