"""One live connection: stores audio in Redis, sends events from it, applies back-pressure.

A connection keeps no state that can't be restored: audio is acknowledged only when it is in Redis, and events
are read from there. So another connection, on any gateway, can take over at any time.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from api_gateway import metrics
from api_gateway.doors.base import (
    Ack,
    Audio,
    ClientCommand,
    Describe,
    Described,
    FlowStatus,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    Ping,
    Pong,
    Reply,
    Start,
)
from api_gateway.live.ends import IdleError, SessionFinished, primary_error
from api_gateway.live.opening import received_by
from api_gateway.live.queued import Chunk, Decoder, cost, max_backlog
from api_gateway.live.quotas import QuotaWatch, no_quotas
from api_gateway.live.transport import ClientDisconnected, Transport
from api_gateway.settings import GatewaySettings
from parlando.domain.analysis import TaskUpdate
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, milliseconds
from parlando.domain.commands import Configure, End, Flush, Settle
from parlando.domain.events import Closed
from parlando.domain.formats import AudioFormat
from parlando.domain.job_events import JobEvent
from parlando.errors import InvalidRequestError, SessionClosedError, SessionLostError, TooManyControlsError
from parlando.store.envelope import AccessChanged
from parlando.store.relay import Relay
from parlando.store.sessions import SessionWriter

LARGEST_ENTRY: Final = SAMPLE_RATE * BYTES_PER_SAMPLE  # bytes of one stream entry: a second of PCM
MAX_BUFFERED: Final = 8 * LARGEST_ENTRY  # bytes read from the socket but not stored
MAX_INVALID: Final = 20  # invalid messages after which the connection is closed
REST_S: Final = 10.0  # to store what a client has sent before it disconnected
FULL_RETRY_S: Final = 0.1  # while the backlog is full
TOUCH_EVERY_S: Final = 5.0
WATCH_EVERY_S: Final = 0.25  # between checks for stalled audio and an idle client
PAUSED_S: Final = 0.5  # a check that comes later by this shows that the process was stopped or starved


class LiveConnection:
    """Runs one connection of one session until it ends.

    `reformat`: sets another audio format before the first audio. `check`: raises `InvalidRequestError` for
    config changes that the cluster can't apply. `describe`: answers `Describe`. `quotas`: watches them.
    `last_seq`: the last kept event that the client has received. `window_s`: seconds that the session stays
    open without a client; None for `RESUME_WINDOW_S`.
    """

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
        describe: Callable[[], Awaitable[Described]] | None = None,
        quotas: QuotaWatch = no_quotas,
        last_seq: int = 0,
        window_s: float | None = None,
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._relay = relay
        self._settings = settings
        self._protocol = protocol
        self._reformat = reformat
        self._check = check
        self._describe = describe
        self._quotas = quotas
        self._window_s = settings.resume_window_s if window_s is None else window_s
        self._idle_s = protocol.idle_s or settings.idle_timeout_s
        self._decoder = Decoder(writer.format)
        self._queue: deque[Chunk | ClientCommand] = deque()
        self._buffered = 0
        self._queued = asyncio.Event()
        self._freed = asyncio.Event()
        self._opened_at = self._received_at = self._audio_at = time.monotonic()
        self._audio_open = False
        self._acked_at = 0.0
        self._ack_held = False
        self._sent_seq = last_seq  # the last kept event that was sent to the client
        self._settled = 0
        self._invalid = 0
        self._storing = False  # whether an item taken from the queue isn't stored yet
        self._client_gone = False
        self._ended = False

    async def run(self, first: Sequence[ClientCommand] = ()) -> None:
        """Serve until the session closes or the client disconnects. `first`: commands that were already read.

        Raises
        ------
        SessionFinished
            when the session has closed, with the close code.
        ClientGone, ParlandoError

        """
        for command in first:
            if isinstance(command, Reply):
                await self._send_all(command.messages)
            else:
                self._enqueue(command)
        quotas = self._quotas(self._send, self._enqueue)
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._receive(), self._store(), self._deliver(), self._watch(), quotas):
                    group.create_task(loop)
        except ExceptionGroup as errors:
            raise primary_error(errors) from None

    # --- from the socket --------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            while self._buffered >= MAX_BUFFERED:  # TCP then slows the client down
                self._freed.clear()
                await self._freed.wait()
                self._received_at = self._audio_at = time.monotonic()  # not idle: the gateway wasn't reading
            try:
                message = await self._transport.receive()
            except ClientDisconnected:
                await self._store_rest()
                raise
            self._received_at = time.monotonic()
            try:
                for command in self._protocol.commands(message):
                    await self._handle(command)
            except InvalidRequestError as error:
                self._invalid += 1
                if self._invalid >= MAX_INVALID:
                    raise
                await self._send(MessageError(error))

    @property
    def _is_stored(self) -> bool:
        """Whether all that was read from the socket is in Redis, and acknowledged."""
        return not (self._queue or self._storing)

    async def _store_rest(self) -> None:
        """Store what was received before the client disconnected: not every client resumes."""
        self._client_gone = True
        try:
            async with asyncio.timeout(REST_S):
                while not self._is_stored:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            pass  # the session is throttled, or Redis unreachable

    async def _handle(self, command: ClientCommand) -> None:
        if isinstance(command, Ping):  # also after `End`, while the rest is decoded
            await self._send(Pong())
            return
        if isinstance(command, Reply):
            await self._send_all(command.messages)
            return
        if isinstance(command, Describe):
            if self._describe is not None:
                await self._send(await self._describe())
            return
        if isinstance(command, Start | Configure) and self._check is not None:
            await self._check(command.changes)
        if isinstance(command, Start):
            await self._restart(command)
        self._enqueue(command)

    def _enqueue(self, command: ClientCommand) -> None:
        if self._ended:
            return
        if isinstance(command, Audio):
            pcm = self._decoder.push(command.data)
            self._queue.append(Chunk(pcm, command.index))
            self._audio_at = time.monotonic()
            self._audio_open = True
        else:
            self._queue.append(command)
            self._ended = isinstance(command, End)
            self._audio_open &= not isinstance(command, Flush | End)
        self._buffered += cost(self._queue[-1])
        self._queued.set()

    async def _restart(self, start: Start) -> None:
        """Apply a `start` after the greeting: before the first audio it may still set the format."""
        if self._audio_at > self._opened_at or self._writer.received:
            raise InvalidRequestError("Expected start before the first audio, but audio was received already")
        if start.format != self._writer.format and self._reformat is not None:
            await self._reformat(start.format)
        self._decoder = Decoder(self._writer.format)

    # --- into Redis -------------------------------------------------------------------------------

    async def _store(self) -> None:
        while True:
            self._storing = False
            self._freed.set()
            if not self._queue:
                await self._until_queued()
            item = self._queue.popleft()
            self._storing = True
            try:
                if isinstance(item, Chunk):
                    await self._store_chunks(item)
                else:
                    self._release([item])
                    await self._apply(item)
            except TooManyControlsError as error:
                await self._send(MessageError(error))
            except SessionClosedError:
                if not self._writer.received:
                    raise
                # A worker has closed it, for example for invalid audio; its events contain the reason.
                self._ended = True
                self._queue.clear()
                self._storing = False
                self._freed.set()
                return

    async def _until_queued(self) -> None:
        """Wait for a command. An `Ack` that was held back is sent, as the client may be waiting for it."""
        self._queued.clear()
        if self._ack_held:
            due_s = self._acked_at + self._settings.ack_interval_ms / 1000 - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, due_s)):
                    await self._queued.wait()
            except TimeoutError:
                await self._send_ack()
        await self._queued.wait()

    async def _store_chunks(self, first: Chunk) -> None:
        """Store a chunk together with the queued ones after it, up to a second in one stream entry."""
        chunks, size = [first], len(first.pcm)
        while self._queue and isinstance(following := self._queue[0], Chunk):
            if size + len(following.pcm) > LARGEST_ENTRY:
                break
            chunks.append(following)
            size += len(following.pcm)
            self._queue.popleft()
        pcm = b"".join(chunk.pcm for chunk in chunks)
        for start in range(0, len(pcm), LARGEST_ENTRY):
            await self._append(pcm[start : start + LARGEST_ENTRY])
        self._release(chunks)
        await self._acknowledge([chunk.index for chunk in chunks if chunk.index is not None])

    def _release(self, done: Sequence[Chunk | ClientCommand]) -> None:
        """Free the buffer space of items that were taken from the queue."""
        self._buffered -= sum(map(cost, done))
        self._freed.set()

    async def _append(self, pcm: bytes) -> None:
        throttled, limit = False, max_backlog(self._writer.format, self._settings.buffer_max_s)
        bytes_per_second = self._writer.format.bytes_per_second
        started_at = time.monotonic()
        appended = await self._writer.append(pcm, limit)
        metrics.observe_store(time.monotonic() - started_at, len(pcm))
        while not appended.stored:
            if not throttled:
                throttled = True
                metrics.THROTTLED.inc()
                await self._send(FlowStatus("throttled", self._ms(appended.backlog), "backlog"))
            await asyncio.sleep(FULL_RETRY_S)
            self._received_at = self._audio_at = time.monotonic()  # not idle: the gateway isn't reading
            appended = await self._writer.append(pcm, limit)
        if throttled:
            await self._send(FlowStatus("flowing", self._ms(appended.backlog), "backlog"))
        metrics.BYTES.inc(len(pcm))
        if bytes_per_second is not None:
            metrics.AUDIO.inc(len(pcm) / bytes_per_second)

    def _ms(self, backlog: int) -> int:
        """The duration of a backlog in milliseconds; 0 for a container, whose duration is unknown."""
        bytes_per_second = self._writer.format.bytes_per_second
        if self._writer.format.direct:
            return milliseconds(backlog)
        return 0 if bytes_per_second is None else backlog * 1000 // bytes_per_second

    async def _acknowledge(self, indexes: list[int]) -> None:
        """Send an `Ack` of each index; without any, at most one in `ack_interval_ms`."""
        elapsed_s = time.monotonic() - self._acked_at
        if indexes:
            for index in indexes:
                await self._send_ack(index)
        elif elapsed_s * 1000 >= self._settings.ack_interval_ms:
            await self._send_ack()
        else:
            self._ack_held = True

    async def _send_ack(self, index: int | None = None) -> None:
        self._ack_held, self._acked_at = False, time.monotonic()
        await self._send(Ack(received_by(self._writer), *self._settled_position(), index=index))

    def _settled_position(self) -> tuple[int, int]:
        """Position before which all audio is in finals sent to the client: in its units, and in ms."""
        samples, seq = self._writer.settled
        if seq <= self._sent_seq:
            self._settled = max(self._settled, samples)
        settled = self._writer.format.settled(self._settled)
        return settled, milliseconds(self._settled)

    async def _apply(self, command: ClientCommand) -> None:
        match command:
            case Start(changes=changes) if changes:
                await self._writer.command(Configure(changes=changes))
            case Configure(changes=changes) if changes:
                await self._writer.command(command)
            case Flush() | End():
                await self._writer.command(command)

    # --- to the client ----------------------------------------------------------------------------

    async def _deliver(self) -> None:
        async for batch in self._relay.batches():
            for envelope in batch:
                event = envelope.message
                if isinstance(event, JobEvent | TaskUpdate | AccessChanged):
                    continue  # impossible: two belong to jobs, the relay consumes the third
                await self._send_all(self._protocol.event(event))
                self._sent_seq = envelope.seq or self._sent_seq
                metrics.observe_delivery(event)
                if isinstance(event, Closed):
                    raise SessionFinished(*self._protocol.end_of(event))

    async def _send(self, notice: Notice) -> None:
        await self._send_all(self._protocol.notice(notice))

    async def _send_all(self, messages: Sequence[Message]) -> None:
        """Send messages, unless the client has disconnected: `_receive` raises that, after its last one."""
        for message in messages:
            if self._client_gone:
                return
            try:
                await self._transport.send(message)
            except ClientDisconnected:
                self._client_gone = True

    async def _watch(self) -> None:
        """Keep the session alive in Redis, settle stalled audio, and end the connection of an idle client."""
        touched = 0.0
        touch_every_s = min(TOUCH_EVERY_S, self._window_s / 3)
        checked_at = time.monotonic()
        while True:
            now = time.monotonic()
            if (paused := now - checked_at - WATCH_EVERY_S) > PAUSED_S:  # this process, not the client
                self._received_at = min(now, self._received_at + paused)
                self._audio_at = min(now, self._audio_at + paused)
            try:
                if now - touched >= touch_every_s and not self._ended:
                    await self._writer.touch()
                    touched = now
                stalled = self._is_stored and now - self._audio_at >= self._settings.stall_flush_s
                if self._audio_open and not self._ended and stalled:
                    self._audio_open = False
                    await self._writer.command(Settle())
                idle_s = self._idle_s
                if self._ended:  # the client has nothing left to send, and waits for the rest of its text
                    idle_s = max(idle_s, self._settings.idle_timeout_s)
                if now - self._received_at >= idle_s:
                    if not self._ended:
                        await self._writer.command(End(reason="idle"))
                    raise IdleError(f"The client has sent nothing for {idle_s:g} s")
            except TooManyControlsError:
                pass  # the waiting controls will settle the audio too
            except SessionClosedError:
                self._ended = True  # a worker has closed it; its events contain the reason
            checked_at = time.monotonic()
            await asyncio.sleep(WATCH_EVERY_S)

    async def leave(self) -> None:
        """The client has disconnected: start the resume window of the session now."""
        if self._ended:
            return
        try:
            await self._writer.touch()
        except (SessionLostError, SessionClosedError):
            return  # there is no session to resume
