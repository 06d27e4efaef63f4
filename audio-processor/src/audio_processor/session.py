"""One live conversion in its owner: bytes and controls in, PCM and controls out, in the same order.

`feed` queues entries; `run` converts them one by one. Each emission stores the state that a new owner needs.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Final

import structlog

from audio_processor.container_conversion import ContainerConversion
from audio_processor.conversion import Conversion, PcmConversion
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, Layout, PcmLayout, of_raw, sniff
from audio_processor.parts import NoParts, Parts, parts_of
from audio_processor.timeline import Jump, Kind
from parlando import tracing
from parlando.domain.audio import SAMPLE_RATE, Encoding
from parlando.domain.commands import End, Flush, Settle
from parlando.domain.events import Status
from parlando.errors import InvalidAudioError, SessionLostError
from parlando.store.audio_streams import Control, Entry, Frame, position_at, unread
from parlando.store.conversion_claims import ConversionClaim, ConversionLog

MAX_QUEUED: Final = 1 << 20  # bytes read but not converted at which reading stops
REPORT_EVERY: Final = 1 << 19  # bytes converted without any PCM after which progress is stored in Redis
FULL_RETRY_S: Final = 0.1
LEAST_REPORTED_S: Final = 1.0  # shortest jump of the timestamps that is reported to the client

log = structlog.get_logger(part="session")


class ConversionSession:
    """A claimed conversion. `run` returns when it is complete, and raises `FencedError` when another worker
    has claimed it.

    `max_backlog`: samples that may wait in Redis for a transcriber. `keep`: see `ContainerConversion`.
    `reread`: reads the session's bytes once more, in pieces with their offsets.

    A recorder may have been started again in the session: then another recording follows, with a header of
    its own, and gets a conversion of its own.
    """

    def __init__(
        self,
        claim: ConversionClaim,
        conversion_log: ConversionLog,
        *,
        ffmpeg: Ffmpeg,
        max_backlog: int,
        keep: int,
        reread: Callable[[], AsyncIterator[tuple[int, bytes]]],
    ) -> None:
        self.claim = claim
        self.sid = claim.keys.sid
        self._conversion_log = conversion_log
        self._ffmpeg = ffmpeg
        self._max_backlog = max_backlog
        self._keep = keep
        self._reread = reread
        self._entries: deque[Entry] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._head = bytearray()
        self._layout: Layout | None = None
        self._conversion: Conversion | None = None
        self._reported = 0
        self._done = False
        self._begins = 0  # the first byte of this recording
        self._before = 0  # samples of the recordings before it
        self._ends: int | None = None  # the byte behind it, once that is known
        self._parts: Parts = NoParts()
        self._held = b""  # bytes that may belong to this recording or be the beginning of another one
        self._notices: list[Status] = []
        self.position = position_at(0)
        if claim.format.encoding is not Encoding.CONTAINER:
            self._layout = of_raw(claim.format)
        elif claim.state:
            self._begins, self._before = claim.state.get("begins", 0), claim.state.get("before", 0)
            if claim.state["layout"]:
                self._layout = PcmLayout(**claim.state["layout"])
        self.position = position_at(self._begins)
        if self._layout is not None:
            self._begin(self._layout)
            assert self._conversion is not None
            self.position = position_at(self._begins + self._conversion.needed)

    @property
    def wants_input(self) -> bool:
        """Whether more entries should be read; else the bytes wait in Redis."""
        return not self._done and self._queued < MAX_QUEUED

    def feed(self, entries: Iterable[Entry]) -> None:
        """Queue entries of the session's stream, in order."""
        entries = list(entries)
        if entries:
            self.position = entries[-1].id
        for entry in unread(entries, self.claim.control):
            self._entries.append(entry)
            self._queued += len(entry.pcm) if isinstance(entry, Frame) else 0
        self._wake.set()

    async def run(self) -> None:
        """Convert until the end of the session, or until its audio can't be decoded."""
        started = time.monotonic()
        with tracing.session(self.sid):
            await self._run()
            tracing.note("convert", time.monotonic() - started, taken_over=self.claim.taken_over)

    async def _run(self) -> None:
        try:
            await self._convert()
        except (InvalidAudioError, SessionLostError) as error:
            log.info("audio.refused", session=self.sid, why=error.message)
            await self._close()  # before the session ends, so that no process outlives it
            await self._conversion_log.refuse(error)
        finally:
            self._done = True
            await self._close()

    async def _close(self) -> None:
        if self._conversion is not None:
            await self._conversion.close()

    async def _convert(self) -> None:
        if self._trimmed_away:
            raise SessionLostError(
                "The audio-processor terminated, and the stream is too long to be decoded from its start"
            )
        while True:
            if self._conversion is not None:
                await self._conversion.check()
            if not self._entries:
                self._wake.clear()
                await self._wake.wait()
                continue
            entry = self._entries.popleft()
            if isinstance(entry, Frame):
                self._queued -= len(entry.pcm)
                await self._take(entry)
            elif await self._execute(entry):
                return

    @property
    def _trimmed_away(self) -> bool:
        state = self.claim.state
        return self.claim.taken_over and state is not None and bool(state.get("trimmed"))

    async def _take(self, frame: Frame) -> None:
        if self._conversion is None:
            known = self._begins + len(self._head)  # a frame may begin with the end of the recording before
            self._head += frame.pcm[max(0, known - frame.start) :]
            self._decide(complete=False)
            return
        start, data = frame.start - self._begins - len(self._held), self._held + frame.pcm
        end = self._parts.push(frame.start - self._begins, frame.pcm)
        undecided = self._parts.undecided
        stop = end if end is not None else undecided if undecided is not None else start + len(data)
        stop = max(start, stop) - start
        self._held = data[stop:]
        if stop:
            await self._conversion.write(start, data[:stop])
        if end is not None:
            await self._next_part(end)
        elif self._conversion.converted - self._reported >= REPORT_EVERY:
            await self._emit(b"")

    async def _next_part(self, length: int) -> None:
        """Finish this recording, of `length` bytes; another one begins behind it."""
        assert self._conversion is not None
        self._ends = self._begins + length
        await self._conversion.finish()
        log.info("recording.follows", session=self.sid, at=self._ends)
        self._begins, self._ends = self._ends, None
        self._before += self._conversion.emitted
        self._conversion, self._reported = None, 0
        self._notices.append(Status(session_id=self.sid, status="restarted", reason="header"))
        self._head += self._held
        self._held = b""
        self._decide(complete=False)

    async def _release(self) -> None:
        """Convert the bytes that were held back: no others follow for now."""
        if self._conversion is not None and self._held:
            held, self._held = self._held, b""
            await self._conversion.write(self._parts.wanted - len(held), held)
            self._parts.decide()

    def _decide(self, *, complete: bool) -> None:
        """Begin the conversion as soon as the first bytes determine the format."""
        self._layout = sniff(bytes(self._head), complete=complete)
        if self._layout is not None:
            self._begin(self._layout)
            self._entries.appendleft(Frame(self._begins, bytes(self._head), ""))
            self._queued += len(self._head)
            self._head.clear()

    def _begin(self, layout: Layout) -> None:
        claim = self.claim
        emitted = max(0, self._conversion_log.emitted - self._before)
        self._parts = parts_of(layout)
        if isinstance(layout, PcmLayout):
            self._conversion = PcmConversion(
                self._ffmpeg, claim.format, self._emit, self._wake.set, emitted, layout
            )
        else:
            self._conversion = ContainerConversion(
                self._ffmpeg,
                claim.format,
                self._emit,
                self._wake.set,
                emitted,
                layout,
                keep=self._keep,
                reread=self._part_bytes,
            )

    async def _part_bytes(self) -> AsyncIterator[bytes]:
        """All bytes of this recording."""
        async for start, data in self._reread():
            stop = len(data) if self._ends is None else max(0, self._ends - start)
            if piece := data[max(0, self._begins - start) : stop]:
                yield piece

    async def _execute(self, control: Control) -> bool:
        """Execute a control and forward it behind the PCM. Returns whether it was the end."""
        command = control.command
        ends = isinstance(command, End)
        discards = isinstance(command, End) and command.discard
        if ends and self._conversion is None and not discards:
            if not self._head:
                raise InvalidAudioError("Expected audio, but no bytes came")
            self._entries.appendleft(control)
            self._decide(complete=True)
            return False
        await self._release()
        if self._conversion is not None:
            if discards:
                lost = max(0, control.at - self._begins - self._conversion.converted)
                command = command.model_copy(update={"lost": self._samples(lost)})
                await self._close()
            elif ends:
                await self._conversion.finish()
            elif isinstance(command, Flush | Settle):
                await self._conversion.cut()
        await self._conversion_log.forward(command, control.number)
        return ends

    def _samples(self, lost: int) -> int:
        """The number of samples in `lost` bytes; 0 for a container, where it is unknown."""
        if isinstance(self._layout, PcmLayout):
            return lost // self._layout.frame * SAMPLE_RATE // self._layout.rate
        return 0

    async def _emit(self, pcm: bytes, jumps: Sequence[Jump] = ()) -> None:
        conversion = self._conversion
        assert conversion is not None
        state = {
            "layout": asdict(self._layout) if isinstance(self._layout, PcmLayout) else None,
            "trimmed": isinstance(self._layout, ContainerLayout) and conversion.needed > 0,
            "begins": self._begins,
            "before": self._before,
        }
        notices = self._notices + [notice for jump in jumps if (notice := notice_of(jump, self.sid))]
        while not await self._conversion_log.emit(  # noqa: ASYNC110 the room is made in another process
            pcm,
            max_backlog=self._max_backlog,
            state=state,
            converted=self._begins + conversion.converted,
            needed=self._begins + conversion.needed,
            notices=notices,
        ):
            await asyncio.sleep(FULL_RETRY_S)
        if pcm:
            self._notices = []
        self._reported = conversion.converted


def notice_of(jump: Jump, sid: str) -> Status | None:
    """The notice for the client about a jump of the timestamps; None for a short one."""
    name = {Kind.FILLED: "silence_added", Kind.IGNORED: "gap_ignored", Kind.RESTARTED: "restarted"}[jump.kind]
    if jump.kind is not Kind.RESTARTED and jump.length < LEAST_REPORTED_S:
        return None
    ms = 0 if jump.kind is Kind.RESTARTED else round(1000 * jump.length)
    return Status(session_id=sid, status=name, ms=ms, reason="timestamps")
