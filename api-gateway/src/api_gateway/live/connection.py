"""One live connection: audio into Redis, events out of it, back-pressure, resume.

A connection holds nothing that matters: audio is in Redis before it's acknowledged, events come from
there, and another connection, on any gateway, can take over at any moment.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from api_gateway import metrics
from api_gateway.doors.base import (
    Ack,
    Audio,
    ClientCommand,
    FlowStatus,
    LiveProtocol,
    Mistake,
    Notice,
    Ping,
    Pong,
    Start,
)
from api_gateway.live.opening import received_by
from api_gateway.live.relay import Relay
from api_gateway.live.transport import ClientGone, Transport
from api_gateway.settings import GatewaySettings
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmDecoder, WholeFrames, milliseconds
from parlando.domain.commands import Configure, End, Flush, Settle
from parlando.domain.events import Closed, Partial, age_s
from parlando.domain.formats import AudioFormat
from parlando.domain.job_events import JobEvent
from parlando.errors import (
    InvalidRequestError,
    ParlandoError,
    SessionClosedError,
    SessionLostError,
    TooManyControlsError,
)
from parlando.store.envelope import AccessChanged
from parlando.store.sessions import SessionWriter

LARGEST_ENTRY: Final = SAMPLE_RATE * BYTES_PER_SAMPLE  # bytes of one stream entry: a second of PCM
MAX_BUFFERED: Final = 8 * LARGEST_ENTRY  # bytes read from the socket but not stored
COMMAND_BYTES: Final = 4096  # what a message without audio counts among them
CHUNK_BYTES: Final = 512  # and a message with audio beside that, which may be empty
MAX_UNCONVERTED: Final = 4 << 20  # bytes of a container that may wait for FFmpeg
MAX_UNCONVERTED_S: Final = 10  # seconds of raw audio that may
MAX_MISTAKES: Final = 20  # messages not understood before the socket is closed
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


def decoder_of(form: AudioFormat) -> PcmDecoder | WholeFrames:
    """What makes whole samples of a connection's bytes, so that a resume falls between two of them."""
    return PcmDecoder(form.encoding) if form.direct else WholeFrames(form.frame_bytes)


@dataclass(slots=True)
class _Chunk:
    pcm: bytes
    index: int | None


def _cost(item: _Chunk | ClientCommand) -> int:
    """Bytes of `MAX_BUFFERED` that a queued message takes."""
    return CHUNK_BYTES + len(item.pcm) if isinstance(item, _Chunk) else COMMAND_BYTES


class LiveConnection:
    """Runs one connection of one session, in whichever dialect, until it ends."""

    def __init__(
        self,
        transport: Transport,
        writer: SessionWriter,
        relay: Relay,
        *,
        settings: GatewaySettings,
        protocol: LiveProtocol,
        reformat: Callable[[AudioFormat], Awaitable[None]] | None = None,
        check: Callable[[Mapping[str, Any]], Awaitable[None]] | None = None,
        seen: int = 0,
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._relay = relay
        self._settings = settings
        self._protocol = protocol
        self._reformat = reformat
        self._check = check
        self._idle_s = protocol.idle_s or settings.idle_timeout_s
        self._decoder = decoder_of(writer.format)
        self._queue: deque[_Chunk | ClientCommand] = deque()
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

    async def run(self, first: Sequence[ClientCommand] = ()) -> None:
        """Serve until the session is closed or the client leaves. `first`: commands that were read already.

        Raises
        ------
        Finished
            when the session has closed, with the close code.
        ClientGone, ParlandoError

        """
        for command in first:
            self._accept(command)
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._receive(), self._store(), self._deliver(), self._watch()):
                    group.create_task(loop)
        except ExceptionGroup as ends:
            raise _reason(ends) from None

    # --- from the socket --------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            while self._buffered >= MAX_BUFFERED:  # not reading is how a client is told to wait
                self._less.clear()
                await self._less.wait()
            message = await self._transport.receive()
            self._heard_at = time.monotonic()
            try:
                for command in self._protocol.read(message):
                    await self._take(command)
            except InvalidRequestError as error:
                self._mistakes += 1
                if self._mistakes >= MAX_MISTAKES:
                    raise
                await self._say(Mistake(error))

    async def _take(self, command: ClientCommand) -> None:
        if isinstance(command, Ping):  # also behind the end, while the tail is recognised
            await self._say(Pong())
            return
        if isinstance(command, Start | Configure) and self._check is not None:
            await self._check(command.changes)
        if isinstance(command, Start):
            await self._restart(command)
        self._accept(command)

    def _accept(self, command: ClientCommand) -> None:
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
                await self._say(Mistake(error))
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

    def _forget(self, done: Sequence[_Chunk | ClientCommand]) -> None:
        self._buffered -= sum(map(_cost, done))
        self._less.set()

    async def _append(self, pcm: bytes) -> None:
        throttled, limit = False, self._max_backlog
        second = self._writer.format.bytes_per_second
        asked_at = time.monotonic()
        appended = await self._writer.append(pcm, limit)
        metrics.APPEND.observe(took := time.monotonic() - asked_at)
        metrics.LATENCIES.observe("store", took)
        while not appended.stored:
            if not throttled:
                throttled = True
                metrics.THROTTLED.inc()
                await self._say(FlowStatus("throttled", self._ms(appended.backlog), "backlog"))
            await asyncio.sleep(FULL_RETRY_S)
            self._heard_at = self._audio_at = time.monotonic()  # it's us who don't read
            appended = await self._writer.append(pcm, limit)
        if throttled:
            await self._say(FlowStatus("flowing", self._ms(appended.backlog), "backlog"))
        metrics.BYTES.inc(len(pcm))
        if second is not None:
            metrics.AUDIO.inc(len(pcm) / second)

    @property
    def _max_backlog(self) -> int:
        """Samples, or bytes where FFmpeg makes the audio of them, that may wait in Redis."""
        form = self._writer.format
        if form.direct:
            return int(self._settings.buffer_max_s * SAMPLE_RATE)
        second = form.bytes_per_second
        return MAX_UNCONVERTED if second is None else MAX_UNCONVERTED_S * second

    def _ms(self, backlog: int) -> int:
        second = self._writer.format.bytes_per_second
        if self._writer.format.direct:
            return milliseconds(backlog)
        return 0 if second is None else backlog * 1000 // second

    async def _acknowledge(self, indexes: list[int]) -> None:
        ack = Ack(received_by(self._writer), *self._settled_by_now())
        for index in indexes:
            await self._say(replace(ack, index=index))
        now = time.monotonic()
        if indexes:
            self._acked_at = now
        elif (now - self._acked_at) * 1000 >= self._settings.ack_interval_ms:
            self._acked_at = now
            await self._say(ack)

    def _settled_by_now(self) -> tuple[int, int]:
        """Before where all audio is in finals that the client was sent: in its units, and in milliseconds."""
        samples, seq = self._writer.settled
        if seq <= self._seen:
            self._settled = max(self._settled, samples)
        settled = self._writer.format.settled(self._settled)
        return settled, milliseconds(self._settled)

    async def _obey(self, command: ClientCommand) -> None:
        match command:
            case Start(changes=changes) if changes:
                await self._writer.command(Configure(changes=changes))
            case Configure(changes=changes) if changes:
                await self._writer.command(command)
            case Flush() | End():
                await self._writer.command(command)
                self._audio_open = False

    # --- to the client ----------------------------------------------------------------------------

    async def _deliver(self) -> None:
        async for batch in self._relay.batches():
            for envelope in batch:
                event = envelope.message
                if isinstance(event, JobEvent | AccessChanged):
                    continue  # neither is published for a session, or reaches an outbox
                for message in self._protocol.event(event):
                    await self._transport.send(message)
                self._seen = envelope.seq or self._seen
                if isinstance(event, Partial):
                    metrics.LATENCIES.observe("deliver", age_s(event.timestamp))
                elif isinstance(event, Closed):
                    raise Finished(self._protocol.close_code(event))

    async def _say(self, notice: Notice) -> None:
        for message in self._protocol.notice(notice):
            await self._transport.send(message)

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
                    await self._writer.command(Settle())
                if now - self._heard_at >= self._idle_s:
                    if not self._ended:
                        await self._writer.command(End(reason="idle"))
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
