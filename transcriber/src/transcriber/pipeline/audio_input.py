"""The input side of a live session: turns entries of its audio stream into a queue of steps.

`feed` queues entries. `run` passes them through the segmenter and appends steps in the order of the audio;
`session_output` executes the steps.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Pcm16, samples
from parlando.domain.commands import Configure, End, Flush, Settle
from parlando.domain.config import SessionConfig
from parlando.store.audio_streams import Control, Entry, position_at, unread
from parlando.store.session_claims import SessionRenewal
from parlando.store.session_log import Checkpoint, RecognitionClaim
from parlando.vad import VadStream
from transcriber.pipeline.batching import BatchCollector, BatchOptions
from transcriber.pipeline.context import MAX_GAP
from transcriber.pipeline.partial_timing import FIRST_PARTIAL, MAX_SILENCE
from transcriber.pipeline.segmenter import (
    Ended,
    Paused,
    Quiet,
    Resumed,
    Segmenter,
    SegmenterOptions,
    SpeechFrame,
    Started,
    Utterance,
)
from transcriber.pipeline.steps import FinishStep, OpenStep, PartialStep, SpeculateStep, Step

LATE_SPECULATION: Final = samples(352)
"""Silence after which a segment is decoded as if it had ended, under load. Of pauses of 192 ms in read
English four of ten are shorter than 500 ms, of those of 352 ms one in six."""
MAX_UNFINISHED: Final = 3
"""Segments waiting for their final at which reading stops."""
BATCH_OPTIONS: Final = SegmenterOptions(silence=5 * SAMPLE_RATE, soft=11 * SAMPLE_RATE, hard=28 * SAMPLE_RATE)
"""Segments of 10 to 28 s, cut in silences: a paid engine bills at least 10 s for each."""


class AudioInput:
    """See the module. `steps`: the queue; `changed` is set when steps were added.

    `context`: samples before a segment that improve its recognition. `fixed_interval`: samples between two
    partials; None if the interval adapts to the load. `metered`: whether every window costs money.
    `hurried`: whether the load is so high that a speculation waits for more silence.
    `on_received` is called with the number of samples that the segmenter gets; `on_drained` when all entries
    have been segmented; `on_endpoint` when a queued partial has become superfluous because the segment may
    have ended; `on_resumed` when it hasn't, with the sample at which speech goes on.
    """

    def __init__(
        self,
        claim: RecognitionClaim,
        vad: VadStream,
        *,
        options: SegmenterOptions,
        batch: BatchOptions,
        context: int,
        fixed_interval: int | None,
        metered: bool,
        hurried: Callable[[], bool],
        on_received: Callable[[int], None],
        on_drained: Callable[[], None],
        on_endpoint: Callable[[], None],
        on_resumed: Callable[[int], None],
    ) -> None:
        self.config = SessionConfig(**claim.config)
        self.segmenter = Segmenter(vad, start=claim.start, index=claim.segments, floor=claim.floor)
        self.steps: deque[Step] = deque()
        self.unfinished: deque[FinishStep] = deque()
        self.changed = asyncio.Event()
        self.position = position_at(claim.start)
        self._options = options
        self._batch = batch
        self._context = context
        self._fixed_interval = fixed_interval
        self._metered = metered
        self._hurried = hurried
        self._on_received = on_received
        self._on_drained = on_drained
        self._on_endpoint = on_endpoint
        self._on_resumed = on_resumed
        self._collector: BatchCollector | None = None
        self._paused: Utterance | None = None  # in a pause that may end the segment, not decoded yet
        self._last_command = 0
        self._read: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._next_partial = 0
        self._ending = False
        self._quiet_since = claim.start  # end of the last segment that the segmenter has ended
        if claim.checkpoint is not None:
            self._restore(claim.checkpoint)
        self._adopt(self.config)

    def _restore(self, checkpoint: Checkpoint) -> None:
        snapshot = checkpoint.snapshot
        self.config = SessionConfig(**snapshot["config"])
        self._last_command = snapshot["control"]
        self.segmenter.restore(checkpoint.offset, snapshot["segmenter"])
        self._quiet_since = snapshot["quiet_since"]
        self.position = position_at(checkpoint.offset)
        if self.segmenter.open is not None:  # the checkpoint is at a cut in the middle of speech
            self._begin(self.segmenter.open)

    @property
    def wants_input(self) -> bool:
        """Whether more entries should be read; else the audio waits in Redis."""
        collected = self._collector is None or self._collector.opens(self.segmenter.received)
        busy = self._read or self._ending or len(self.unfinished) >= MAX_UNFINISHED
        return collected and not busy

    @property
    def decodes_partials(self) -> bool:
        """Whether windows are decoded before a segment has ended; not where each window costs money."""
        return not (self.config.batch or self._metered)

    @property
    def first_needed(self) -> int:
        """The first sample that the queued steps need, without the context before it."""
        starts = [step.utterance.start for step in self.unfinished if step.utterance]
        starts += [step.utterance.start for step in self.steps if isinstance(step, OpenStep)]
        return min([*starts, self.segmenter.needed])

    def observe(self, renewal: SessionRenewal, now: float) -> None:
        """Process the amount of audio in Redis, as reported by a lease renewal; `now` in seconds."""
        if self._collector is not None:
            self._collector.observe(
                received=renewal.received, read=self.segmenter.received, ending=renewal.ending, now=now
            )

    def feed(self, entries: Iterable[Entry]) -> None:
        """Queue entries of the session's stream, in order."""
        self._read.extend(entries)
        if self._read:
            self.position = self._read[-1].id
        self._arrived.set()

    async def run(self) -> None:
        """Pass the queued entries through the segmenter, one (up to a second of audio) at a time."""
        while True:
            if not self._read:
                self._on_drained()
                self.changed.set()
                self._arrived.clear()
                await self._arrived.wait()
            for entry in unread([self._read[0]], self._last_command):
                if isinstance(entry, Control):
                    self._execute(entry)
                else:
                    pcm = np.frombuffer(entry.pcm, "<i2")
                    self._segment(pcm[max(0, self.segmenter.received - entry.start) :])
            self._read.popleft()
            await asyncio.sleep(0)

    # --- audio --------------------------------------------------------------------------------

    def _segment(self, pcm: Pcm16) -> None:
        self._on_received(len(pcm))
        for event in self.segmenter.push(pcm):
            match event:
                case Started(utterance):
                    self._begin(utterance)
                case SpeechFrame(utterance, end, silence):
                    self._partial(utterance, end, silence)
                    if silence >= LATE_SPECULATION:
                        self._speculate()
                case Paused(utterance) if self.decodes_partials:
                    self._paused = utterance
                    if self._fixed_interval is not None or not self._hurried():
                        self._speculate()
                    self._on_endpoint()
                case Resumed(utterance) if self._fixed_interval is None:
                    self._paused = None
                    self.steps = deque(s for s in self.steps if not isinstance(s, SpeculateStep))
                    self._on_resumed(utterance.speech_end)
                case Ended(utterance, offset, snapshot):
                    self._finish(utterance, offset, snapshot)
                case Quiet(offset, snapshot):
                    self._finish(None, offset, snapshot)

    def _speculate(self) -> None:
        """Decode the segment as if it ended with the present pause, unless that was done."""
        if self._paused is not None:
            self.steps.append(SpeculateStep(self._paused, self.config))
            self._paused = None

    def _begin(self, utterance: Utterance) -> None:
        self.steps.append(OpenStep(utterance))
        self._next_partial = utterance.onset + FIRST_PARTIAL

    def _partial(self, utterance: Utterance, end: int, silence: int) -> None:
        if (
            self._fixed_interval is not None
            and self.decodes_partials
            and end >= self._next_partial
            and silence <= MAX_SILENCE
        ):
            self.steps.append(PartialStep(utterance, end, self.config))
            self._next_partial = end + self._fixed_interval

    def _finish(
        self,
        utterance: Utterance | None,
        offset: int,
        snapshot: dict[str, Any],
        command: Flush | End | None = None,
    ) -> None:
        self._paused = None
        if utterance is not None:
            self._quiet_since = utterance.end
        settled = max(offset, snapshot["floor"])
        if offset - self._quiet_since < MAX_GAP:  # the next segment may need the context
            offset = max(self.segmenter.audio.start, offset - self._context)
        state = {
            "segmenter": snapshot,
            "quiet_since": self._quiet_since,
            "config": self.config.model_dump(exclude_none=True),
            "control": self._last_command,
        }
        checkpoint = Checkpoint(offset, state, self._last_command, settled)
        step = FinishStep(utterance, self.config, checkpoint, self.segmenter.received, command)
        self.steps.append(step)
        self.unfinished.append(step)
        self._on_endpoint()

    # --- commands -----------------------------------------------------------------------------

    def _execute(self, control: Control) -> None:
        self._last_command = control.number
        match control.command:
            case Configure(changes=changes):
                config = SessionConfig(**{**self.config.model_dump(), **changes})
                if config.task != self.config.task:  # a segment's text is in one language
                    self._end_segment(None)
                self._adopt(config)
            case Flush() as flush:
                self._end_segment(flush)
            case Settle():
                self._end_segment(None)
            case End() as end:
                self._ending = True
                lost = end.lost or max(0, control.at - self.segmenter.received)
                self._end_segment(end.model_copy(update={"lost": lost}))

    def _end_segment(self, command: Flush | End | None) -> None:
        for event in self.segmenter.settle():
            match event:
                case Ended(utterance, offset, snapshot):
                    self._finish(utterance, offset, snapshot, command)
                case Quiet(offset, snapshot):
                    self._finish(None, offset, snapshot, command)

    def _adopt(self, config: SessionConfig) -> None:
        self.config = config
        base = BATCH_OPTIONS if config.batch else self._options
        silence = base.silence if config.vad_silence_ms is None else samples(config.vad_silence_ms)
        self.segmenter.options = replace(base, silence=silence)
        if not config.batch:
            self._collector = None
        elif self._collector is None:
            self._collector = BatchCollector(self._batch)
