"""One live session of its owner: audio in, events out, in the order of the audio.

`feed` only queues what was read. `run` has two tasks: one passes the audio through the segmenter and notes
what there is to do, the other does it, one thing after another: decode, agree, publish. Whatever is published
carries the state from which another worker could go on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import structlog

from parlando.domain.audio import SAMPLE_RATE, Pcm16, milliseconds, samples, seconds
from parlando.domain.config import SessionConfig
from parlando.domain.events import (
    Closed,
    Failure,
    FinalTranscript,
    Flushed,
    PersistedEvent,
    SpeechStarted,
    Status,
    encode,
)
from parlando.errors import EngineError
from parlando.store.audio_streams import Control, Entry, position_at, unread
from parlando.store.session_claims import SessionRenewal
from parlando.store.session_log import Checkpoint, Claim, SessionLog
from parlando.tasks import end
from parlando.vad import VadStream
from transcriber import metrics
from transcriber.engines.base import Hypothesis, Window
from transcriber.pipeline.batching import BatchCollector, BatchOptions
from transcriber.pipeline.context import FORGET, SettledContext
from transcriber.pipeline.open_segment import OpenSegment
from transcriber.pipeline.segmenter import (
    Ended,
    Heard,
    Paused,
    Quiet,
    Resumed,
    Segmenter,
    SegmenterOptions,
    Started,
    Utterance,
)
from transcriber.pipeline.work import Begin, End, Settle, Speculate, Tick, Work
from transcriber.recognition.recognizer import Recognizer, note_failure
from transcriber.recognition.scheduler import Lane, Scheduler, Ticket

FIRST_PARTIAL: Final = samples(300)  # of speech before a segment's first partial
RETRY_PARTIAL: Final = samples(128)  # of new audio when a segment has no words yet
TICK_SILENCE: Final = samples(100)  # no partials while it has been silent for longer
MAX_UNSETTLED: Final = 3  # segments waiting for their final before reading stops
BATCH_OPTIONS: Final = SegmenterOptions(
    silence=5 * SAMPLE_RATE, soft=11 * SAMPLE_RATE, hard=28 * SAMPLE_RATE
)  # pieces of 10 to 28 s, cut in silences: a paid engine bills at least 10 s for each

log = structlog.get_logger(part="session")


class LiveSession:
    """A claimed session. `run` returns when it is closed; it raises `FencedError` when it's lost."""

    def __init__(
        self,
        claim: Claim,
        session_log: SessionLog,
        *,
        vad: VadStream,
        scheduler: Scheduler,
        options: SegmenterOptions,
        batch: BatchOptions,
        fixed_interval: int | None = None,
    ) -> None:
        self.claim = claim
        self.sid = claim.keys.sid
        self._session_log = session_log
        self._scheduler = scheduler
        self._options = options
        self._fixed = fixed_interval
        self._batch = batch
        self._collector: BatchCollector | None = None
        self._config = SessionConfig(**claim.config)
        self._last_control = 0
        self._segmenter = Segmenter(vad, start=claim.start, index=claim.segments, floor=claim.floor)
        self._segments = claim.segments
        self._decoded = self._settled = claim.decoded
        self._unsettled: deque[Settle] = deque()
        self._read: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._work: deque[Work] = deque()
        self._wake = asyncio.Event()
        self._ticket: Ticket | None = None
        self._current: OpenSegment | None = None
        self._resumable = OpenSegment.load(claim.open_segment)
        self._next_tick = 0
        self._ending = False
        self._recognizer = Recognizer(scheduler, self._segmenter, always_redecode=fixed_interval is not None)
        self._quiet_since = claim.start  # where the last segment ended, as far as the audio was read
        self.position = position_at(claim.start)
        if claim.checkpoint is not None:
            self._restore(claim.checkpoint)
        self._adopt(self._config)

    def _restore(self, checkpoint: Checkpoint) -> None:
        snapshot = checkpoint.snapshot
        self._config = SessionConfig(**snapshot["config"])
        self._last_control = snapshot["control"]
        self._segmenter.restore(checkpoint.offset, snapshot["segmenter"])
        self._recognizer.context = SettledContext(self._recognizer.context.reach, snapshot["context"])
        self._quiet_since = snapshot["quiet_since"]
        self.position = position_at(checkpoint.offset)
        if self._segmenter.open is not None:  # the checkpoint lies at a cut in the middle of speech
            self._begin(self._segmenter.open)

    # --- audio in -----------------------------------------------------------------------------

    @property
    def wants_input(self) -> bool:
        """Whether reading on makes sense; else the audio waits in Redis."""
        collected = self._collector is None or self._collector.opens(self._segmenter.received)
        busy = self._read or self._ending or len(self._unsettled) >= MAX_UNSETTLED
        return collected and not busy

    def observe(self, renewal: SessionRenewal, now: float) -> None:
        """Take note of how much audio lies in Redis; `now` in seconds."""
        if self._collector is not None:
            self._collector.observe(
                received=renewal.received, read=self._segmenter.received, ending=renewal.ending, now=now
            )

    @property
    def lag(self) -> int:
        """Samples read but not decoded yet."""
        return self._segmenter.received - self._decoded if self._unsettled or self._current else 0

    @property
    def speaking(self) -> bool:
        """Whether a segment is open."""
        return self._segmenter.open is not None

    def feed(self, entries: Iterable[Entry]) -> None:
        """Queue what was read of the session's stream, in order."""
        self._read.extend(entries)
        if self._read:
            self.position = self._read[-1].id
        self._arrived.set()

    async def _segment(self) -> None:
        """Pass what was read through the segmenter, an entry (up to a second of audio) at a time."""
        while True:
            if not self._read:
                self._want_partial()
                self._wake.set()
                self._arrived.clear()
                await self._arrived.wait()
            for entry in unread([self._read[0]], self._last_control):
                if isinstance(entry, Control):
                    self._control(entry)
                else:
                    pcm = np.frombuffer(entry.pcm, "<i2")
                    self._take(pcm[max(0, self._segmenter.received - entry.start) :])
            self._read.popleft()
            await asyncio.sleep(0)

    def _take(self, pcm: Pcm16) -> None:
        for event in self._segmenter.push(pcm):
            match event:
                case Started(utterance):
                    self._begin(utterance)
                case Heard(utterance, end, silence):
                    self._tick(utterance, end, silence)
                case Paused(utterance) if self._speculates:
                    self._work.append(Speculate(utterance, self._config))
                    self._cancel_partial()
                case Resumed() if self._fixed is None:
                    self._work = deque(w for w in self._work if not isinstance(w, Speculate))
                case Ended(utterance, offset, snapshot):
                    self._settle(utterance, offset, snapshot)
                case Quiet(offset, snapshot):
                    self._settle(None, offset, snapshot)

    @property
    def _speculates(self) -> bool:
        """Whether windows are heard that may not be the last word: not where each costs money."""
        return not (self._config.batch or self._scheduler.engine.info.metered)

    def _begin(self, utterance: Utterance) -> None:
        self._work.append(Begin(utterance))
        self._next_tick = utterance.onset + FIRST_PARTIAL

    def _tick(self, utterance: Utterance, end: int, silence: int) -> None:
        if (
            self._fixed is not None
            and self._speculates
            and end >= self._next_tick
            and silence <= TICK_SILENCE
        ):
            self._work.append(Tick(utterance, end, self._config))
            self._next_tick = end + self._fixed

    def _settle(
        self, utterance: Utterance | None, offset: int, snapshot: dict[str, Any], **more: Any
    ) -> None:
        if utterance is not None:
            self._quiet_since = utterance.end
        covers = max(offset, snapshot["floor"])
        if offset - self._quiet_since < FORGET:  # a segment may begin here that wants the context
            offset = max(self._segmenter.audio.start, offset - self._recognizer.context.reach)
        state = {
            "segmenter": snapshot,
            "quiet_since": self._quiet_since,
            "config": self._config.model_dump(exclude_none=True),
            "control": self._last_control,
        }
        checkpoint = Checkpoint(offset, state, self._last_control, covers)
        work = Settle(utterance, self._config, checkpoint, self._segmenter.received, **more)
        self._work.append(work)
        self._unsettled.append(work)
        self._cancel_partial()

    def _control(self, control: Control) -> None:
        self._last_control = control.number
        match control.message:
            case {"type": "config", "config": dict(changes)}:
                self._adopt(SessionConfig(**{**self._config.model_dump(), **changes}))
            case {"type": "flush"}:
                self._stop_here("flush")
            case {"type": "settle"}:
                self._stop_here(None)
            case {"type": "end", "reason": str(reason), **more}:
                self._ending = True
                lost = more.get("lost", 0) or max(0, control.at - self._segmenter.received)
                self._stop_here("end", End(reason, more.get("error"), lost))

    def _stop_here(self, then: str | None, end: End | None = None) -> None:
        for event in self._segmenter.settle():
            match event:
                case Ended(utterance, offset, snapshot):
                    self._settle(utterance, offset, snapshot, then=then, end=end)
                case Quiet(offset, snapshot):
                    self._settle(None, offset, snapshot, then=then, end=end)

    def _adopt(self, config: SessionConfig) -> None:
        self._config = config
        base = BATCH_OPTIONS if config.batch else self._options
        silence = base.silence if config.vad_silence_ms is None else samples(config.vad_silence_ms)
        self._segmenter.options = replace(base, silence=silence)
        if not config.batch:
            self._collector = None
        elif self._collector is None:
            self._collector = BatchCollector(self._batch)

    # --- partials at the pace that the load allows ----------------------------------------------

    def _want_partial(self) -> None:
        """Queue a partial if one is due; a final or a speculation on its way makes it needless."""
        segment, utterance = self._current, self._segmenter.open
        interval = self._scheduler.partial_interval.interval
        if (
            self._fixed is not None
            or interval is None
            or not self._speculates
            or not self._config.interim
            or self._ticket is not None
            or self._work
            or segment is None
            or utterance is None
            or utterance.index != segment.index
            or utterance.end - utterance.speech_end > TICK_SILENCE
        ):
            return
        due = utterance.onset + FIRST_PARTIAL
        if segment.end:
            due = max(due, segment.end + (interval if segment.has_words else RETRY_PARTIAL))
        if self._segmenter.heard >= due:
            lane = Lane.PARTIAL if segment.has_words else Lane.FIRST_PARTIAL
            self._ticket = self._scheduler.submit(lane, self._newest_window)

    def _newest_window(self) -> Window:
        segment = self._current
        assert segment is not None
        segment.end = self._segmenter.heard
        return self._recognizer.window(segment, segment.end, self._config)

    def _cancel_partial(self) -> None:
        if self._ticket is not None:
            self._ticket.cancel()

    # --- decoding and publishing ----------------------------------------------------------------

    async def run(self) -> None:
        """Do the session's work until it is closed.

        Raises
        ------
        FencedError, UnavailableError

        """
        segmenting = asyncio.create_task(self._segment())
        working = asyncio.create_task(self._do_all())
        try:
            await asyncio.wait((segmenting, working), return_when=asyncio.FIRST_COMPLETED)
            (working if working.done() else segmenting).result()
        finally:
            await end(segmenting, working)

    async def _do_all(self) -> None:
        while True:
            if self._work:
                work = self._work.popleft()
                await self._do(work)
                if isinstance(work, Settle) and work.then == "end":
                    return
            elif self._ticket is not None:
                await self._partial(self._ticket)
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _do(self, work: Work) -> None:
        match work:
            case Begin(utterance):
                await self._open(utterance)
            case Tick(utterance, end, config):
                await self._decode_tick(end, config)
            case Speculate(utterance, config):
                await self._speculate(utterance, config)
            case Settle():
                await self._finish(work)
                self._unsettled.popleft()
                self._segmenter.release(self._needed())
                self._want_partial()

    async def _open(self, utterance: Utterance) -> None:
        resumed = self._resumable
        self._resumable = None
        if resumed is not None and resumed.index == utterance.index:
            self._current = resumed  # its start and its stable text have been shown already
            return
        self._current = OpenSegment(utterance.index, utterance.start, utterance.onset)
        event = SpeechStarted(session_id=self.sid, segment=utterance.index, start=seconds(utterance.onset))
        await self._session_log.publish(encode(event), state=self._current.dump())
        self._want_partial()

    async def _partial(self, ticket: Ticket) -> None:
        try:
            hypothesis = await ticket.answer
        except EngineError as error:
            note_failure(error)
            hypothesis = None
        finally:
            self._ticket = None
        segment = self._current
        if hypothesis is not None and segment is not None:
            await self._show(segment, hypothesis, segment.end, self._config)
        self._want_partial()

    async def _decode_tick(self, end: int, config: SessionConfig) -> None:
        segment = self._current
        if segment is None or end <= segment.end or not config.interim:
            return  # a new owner replays; this one was published before
        lane = Lane.PARTIAL if segment.has_words else Lane.FIRST_PARTIAL
        hypothesis = await self._recognizer.recognize(segment, end, config, lane)
        if hypothesis is not None:
            segment.end = end
            await self._show(segment, hypothesis, end, config)

    async def _speculate(self, utterance: Utterance, config: SessionConfig) -> None:
        segment = self._current
        if segment is None or (utterance.end <= segment.end and (self._fixed or segment.speculation)):
            return  # a new owner replays; this one was published before
        hypothesis = await self._recognizer.recognize(segment, utterance.end, config, Lane.FINAL, utterance)
        if hypothesis is None:
            return
        segment.end = utterance.end
        segment.speculation = hypothesis
        await self._show(segment, hypothesis, utterance.end, config)

    async def _show(
        self, segment: OpenSegment, hypothesis: Hypothesis, end: int, config: SessionConfig
    ) -> None:
        """Agree on a hypothesis and publish the partial that it makes, with the state behind it."""
        segment.take(hypothesis, end, hold_from=self._options.hard - self._options.lookback)
        self._decoded = max(self._decoded, end)
        partial = segment.partial(self.sid) if segment.has_words and config.interim else None
        body = b"" if partial is None else encode(partial)
        await self._session_log.publish(body, decoded=end, state=segment.dump())

    async def _finish(self, work: Settle) -> None:
        """Publish a segment's final (and what follows it) and store the checkpoint, in one step."""
        events: list[PersistedEvent] = []
        utterance = work.utterance
        if utterance is not None:
            events += await self._final(utterance, work.config)
            self._current = None
            self._segments += 1
        if work.then == "flush":
            events.append(Flushed(session_id=self.sid))
        elif work.end is not None:
            events += self._goodbye(work.end, work.received)
        self._decoded = max(self._decoded, utterance.end if utterance else work.checkpoint.offset)
        settled = max(self._settled, self._decoded)
        self._scheduler.note_settled(seconds(settled - self._settled), live=True)
        self._settled = settled
        state = {**work.checkpoint.snapshot, "context": self._recognizer.context.dump()}
        covers = work.checkpoint.settled
        await self._session_log.commit(
            [event if isinstance(event, Status) else _covering(event, covers) for event in events],
            decoded=self._decoded,
            segments=self._segments,
            checkpoint=replace(work.checkpoint, snapshot=state),
            close=work.then == "end",
        )
        if utterance is not None:
            metrics.STAGES.observe("final", time.monotonic() - work.heard_at)

    async def _final(self, utterance: Utterance, config: SessionConfig) -> list[PersistedEvent]:
        segment = self._current
        assert segment is not None
        assert segment.index == utterance.index
        hypothesis = segment.speculation if segment.end == utterance.end else None
        if hypothesis is None:
            hypothesis = await self._recognizer.recognize(
                segment, utterance.end, config, Lane.FINAL, utterance
            )
        if hypothesis is None:  # the engine failed: what was stable is all there is
            final = segment.final(
                self.sid, utterance, Hypothesis((), reason="engine_failed"), words=config.words
            )
            lost = utterance.end - utterance.start
            status = Status(session_id=self.sid, status="lost", ms=milliseconds(lost), reason="engine_failed")
            metrics.SETTLED.labels("engine_failed").inc()
            return [status, final]
        final = segment.final(self.sid, utterance, hypothesis, words=config.words)
        self._recognizer.context.add(segment.start, utterance.end, segment.agreement.settle(hypothesis.words))
        metrics.SETTLED.labels(final.reason or "text").inc()
        return [final]

    def _goodbye(self, end: End, received: int) -> list[PersistedEvent]:
        """What every session closes with: at least one final, what went wrong, and that it is closed."""
        events: list[PersistedEvent] = []
        if not self._segments:
            events.append(self._nothing_said(received))
            self._segments += 1
        if end.lost:
            lost = milliseconds(end.lost)
            events.append(Status(session_id=self.sid, status="lost", ms=lost, reason=end.reason))
        if end.error is not None:
            events.append(Failure(session_id=self.sid, **end.error))
        closed = Closed(
            session_id=self.sid, duration=seconds(received), segments=self._segments, reason=end.reason
        )
        return [*events, closed]

    def _nothing_said(self, received: int) -> FinalTranscript:
        reason = "too_short" if received < samples(100) else "no_speech"
        return FinalTranscript(
            session_id=self.sid, segment=0, text="", start=0.0, end=seconds(received), reason=reason
        )

    def _needed(self) -> int:
        """The first sample that work still to be done may want."""
        starts = [settle.utterance.start for settle in self._unsettled if settle.utterance]
        if self._current is not None:
            starts.append(self._current.start)
        starts += [work.utterance.start for work in self._work if isinstance(work, Begin)]
        return min([*starts, self._segmenter.needed]) - self._recognizer.context.reach


def _covering(event: PersistedEvent, samples: int) -> PersistedEvent:
    return event.model_copy(update={"covers": samples})
