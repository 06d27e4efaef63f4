"""One live conversion in its owner: bytes and controls in, PCM and controls out, in the same order.

`feed` queues entries; `run` converts them one by one. Each emission stores the state that a new owner needs.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict
from typing import Final

import structlog

from audio_processor.conversion import ContainerConversion, Conversion, PcmConversion
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, Layout, PcmLayout, of_raw, sniff
from parlando.domain.audio import SAMPLE_RATE, Encoding
from parlando.domain.commands import End, Flush, Settle
from parlando.errors import InvalidAudioError, SessionLostError
from parlando.store.audio_streams import Control, Entry, Frame, position_at, unread
from parlando.store.conversion_claims import ConversionClaim, ConversionLog

MAX_QUEUED: Final = 1 << 20  # bytes read but not converted at which reading stops
REPORT_EVERY: Final = 1 << 19  # bytes converted without any PCM after which progress is stored in Redis
FULL_RETRY_S: Final = 0.1

log = structlog.get_logger(part="session")


class ConversionSession:
    """A claimed conversion. `run` returns when it is complete, and raises `FencedError` when another worker
    has claimed it.

    `max_backlog`: samples that may wait in Redis for a transcriber. `keep`, `reread`: see
    `ContainerConversion`.
    """

    def __init__(
        self,
        claim: ConversionClaim,
        conversion_log: ConversionLog,
        *,
        ffmpeg: Ffmpeg,
        max_backlog: int,
        keep: int,
        reread: Callable[[], AsyncIterator[bytes]],
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
        self.position = position_at(0)
        if claim.format.encoding is not Encoding.CONTAINER:
            self._layout = of_raw(claim.format)
        elif claim.state and claim.state["layout"]:
            self._layout = PcmLayout(**claim.state["layout"])
        if self._layout is not None:
            self._begin(self._layout)
            assert self._conversion is not None
            self.position = position_at(self._conversion.needed)

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
            self._head += frame.pcm
            self._decide(complete=False)
            return
        await self._conversion.write(frame.start, frame.pcm)
        if self._conversion.converted - self._reported >= REPORT_EVERY:
            await self._emit(b"")

    def _decide(self, *, complete: bool) -> None:
        """Begin the conversion as soon as the first bytes determine the format."""
        self._layout = sniff(bytes(self._head), complete=complete)
        if self._layout is not None:
            self._begin(self._layout)
            self._entries.appendleft(Frame(0, bytes(self._head), ""))
            self._queued += len(self._head)
            self._head.clear()

    def _begin(self, layout: Layout) -> None:
        claim = self.claim
        if isinstance(layout, PcmLayout):
            self._conversion = PcmConversion(
                self._ffmpeg, claim.format, self._emit, self._wake.set, claim.emitted, layout
            )
        else:
            self._conversion = ContainerConversion(
                self._ffmpeg,
                claim.format,
                self._emit,
                self._wake.set,
                claim.emitted,
                layout,
                keep=self._keep,
                reread=self._reread,
            )

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
        if self._conversion is not None:
            if discards:
                lost = max(0, control.at - self._conversion.converted)
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

    async def _emit(self, pcm: bytes) -> None:
        conversion = self._conversion
        assert conversion is not None
        state = {
            "layout": asdict(self._layout) if isinstance(self._layout, PcmLayout) else None,
            "trimmed": isinstance(self._layout, ContainerLayout) and conversion.needed > 0,
        }
        marks = {"converted": conversion.converted, "needed": conversion.needed}
        while not await self._conversion_log.emit(  # noqa: ASYNC110 the room is made in another process
            pcm, max_backlog=self._max_backlog, state=state, **marks
        ):
            await asyncio.sleep(FULL_RETRY_S)
        self._reported = conversion.converted
