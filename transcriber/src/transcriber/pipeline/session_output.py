"""The output side of a live session: executes its steps, which decode, run the stages and publish.

Every publication stores the state from which another worker can continue.
"""

import asyncio
import time
from dataclasses import replace
from typing import Final

import structlog

from parlando import tracing
from parlando.domain.audio import seconds
from parlando.domain.commands import End, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import (
    FinalTranscript,
    Flushed,
    PersistedEvent,
    SpeechStarted,
    Status,
    encode,
)
from parlando.errors import EngineError
from parlando.store.session_log import RecognitionClaim, SessionLog
from transcriber import metrics
from transcriber.engines.base import Hypothesis, Window
from transcriber.known_speakers import KnownSpeakersCache
from transcriber.pipeline.audio_input import AudioInput
from transcriber.pipeline.finals import Finals
from transcriber.pipeline.open_segment import OpenSegment
from transcriber.pipeline.partial_timing import MAX_SILENCE, partial_due
from transcriber.pipeline.segmenter import Utterance
from transcriber.pipeline.session_events import closing_events, covering
from transcriber.pipeline.stages.chain import StageChain
from transcriber.pipeline.steps import FinishStep, OpenStep, PartialStep, SpeculateStep, Step
from transcriber.recognition.deadlines import Lane
from transcriber.recognition.recognizer import Recognizer, note_failure
from transcriber.recognition.scheduler import Scheduler, Ticket

OVERDUE_S: Final = 0.1  # deadline of a final whose endpoint has been detected, after it
IMPROVED_BY_S: Final = 0.8  # … and of its further decodes

log = structlog.get_logger(part="session")


class SessionOutput:
    """Executes the steps of `source`.

    `divided_before`: how many segments earlier finals had beyond their number, because their speaker changed.
    `hold_from`: length of a segment, in samples, from which on no new word is committed, because the segment
    may be cut. `fixed_interval`: see `AudioInput`.
    """

    def __init__(
        self,
        claim: RecognitionClaim,
        session_log: SessionLog,
        source: AudioInput,
        *,
        scheduler: Scheduler,
        recognizer: Recognizer,
        stages: StageChain,
        hold_from: int,
        fixed_interval: int | None,
        known: KnownSpeakersCache | None = None,
        divided_before: int = 0,
    ) -> None:
        self._sid = claim.keys.sid
        self._log = session_log
        self._source = source
        self._scheduler = scheduler
        self._recognizer = recognizer
        self._stages = stages
        self._finals = Finals(claim, source, scheduler, recognizer, stages, known)
        self._divided = divided_before  # how many more segments than utterances there are
        self._hold_from = hold_from
        self._fixed_interval = fixed_interval
        self._segments = claim.segments
        self._decoded = self._settled = claim.decoded
        self._current: OpenSegment | None = None
        self._resumable = OpenSegment.load(claim.open_segment)
        self._ticket: Ticket | None = None  # of a partial
        self._speculation: Ticket | None = None
        self._resumed: int | None = None  # where speech went on after a pause, until its first partial
        self._improving: asyncio.Task[Hypothesis] | None = None

    @property
    def decoded(self) -> int:
        """The sample up to which audio has been decoded."""
        return self._decoded

    @property
    def is_open(self) -> bool:
        """Whether a segment is being decoded."""
        return self._current is not None

    async def run(self) -> None:
        """Execute steps until the session is closed. Raises `FencedError`, `UnavailableError`."""
        try:
            await self._run()
        finally:
            self._stop_improving()

    async def _run(self) -> None:
        source = self._source
        while True:
            if source.steps:
                step = source.steps.popleft()
                await self._execute(step)
                if isinstance(step, FinishStep) and isinstance(step.command, End):
                    return
            elif self._ticket is not None:
                await self._partial(self._ticket)
            elif self._improving is not None and self._improving.done():
                await self._show_improved(self._improving)
            else:
                source.changed.clear()
                await source.changed.wait()

    async def _execute(self, step: Step) -> None:
        match step:
            case OpenStep(utterance):
                await self._open(utterance)
            case PartialStep(_, end, config):
                await self._fixed_partial(end, config)
            case SpeculateStep(utterance, config):
                await self._speculate(utterance, config)
            case FinishStep():
                await self._finish(step)
                self._source.unfinished.popleft()
                self._source.segmenter.release(self._first_needed - self._recognizer.context.reach)
                self.request_partial()

    @property
    def _first_needed(self) -> int:
        first = self._source.first_needed
        return first if self._current is None else min(first, self._current.start)

    # --- partials -----------------------------------------------------------------------------

    def request_partial(self) -> None:
        """Submit a partial to the engine if one is due at the interval that the load allows.

        None is submitted while steps are queued: a final or a speculation would make it superfluous.
        """
        source, segment = self._source, self._current
        utterance = source.segmenter.open
        interval = self._scheduler.cadence.interval
        if (
            self._fixed_interval is not None
            or not source.decodes_partials
            or not source.config.interim
            or self._ticket is not None
            or source.steps
            or segment is None
            or utterance is None
            or self._number(utterance) != segment.index
            or utterance.end - utterance.speech_end > MAX_SILENCE
        ):
            return
        due, urgent = partial_due(
            utterance.onset,
            segment.end,
            self._resumed,
            interval=interval,
            words=segment.has_words,
            hurried=self._scheduler.cadence.hurried,
        )
        if source.segmenter.detected >= due:
            self._resumed = None
            lane = Lane.FIRST_PARTIAL if urgent else Lane.PARTIAL
            audio = source.segmenter.detected - segment.start
            self._ticket = self._scheduler.submit(lane, self._newest_window, audio=audio)

    def cancel_partial(self) -> None:
        """Withdraw a queued partial, unless its decode has started."""
        if self._ticket is not None:
            self._scheduler.withdraw(self._ticket)

    def resume(self, sample: int) -> None:
        """Speech goes on at `sample`, after a pause: withdraw a speculation, and show the next words soon."""
        self._resumed = sample
        if self._speculation is not None:
            self._scheduler.withdraw(self._speculation)
        self._stop_improving()

    def _stop_improving(self) -> None:
        if self._improving is not None:
            self._improving.cancel()
            self._improving = None

    def _newest_window(self) -> Window:
        segment = self._current
        assert segment is not None
        segment.end = self._source.segmenter.detected
        return self._recognizer.window(segment, segment.end, self._source.config)

    async def _partial(self, ticket: Ticket) -> None:
        hypothesis = await _answer(ticket)
        self._ticket = None
        segment = self._current
        if hypothesis is not None and segment is not None:
            lane = Lane.PARTIAL if segment.has_words else Lane.FIRST_PARTIAL
            await self._publish(segment, hypothesis, segment.end, self._source.config, lane)
        self.request_partial()

    async def _fixed_partial(self, end: int, config: SessionConfig) -> None:
        segment = self._current
        if segment is None or end <= segment.end or not config.interim:
            return  # a new owner processes the audio again; the previous owner published this partial
        lane = Lane.PARTIAL if segment.has_words else Lane.FIRST_PARTIAL
        hypothesis = await self._recognizer.recognize(segment, end, config, lane)
        if hypothesis is not None:
            segment.end = end
            await self._publish(segment, hypothesis, end, config, lane)

    async def _speculate(self, utterance: Utterance, config: SessionConfig) -> None:
        segment = self._current
        if segment is None or (
            utterance.end <= segment.end and (self._fixed_interval or segment.speculation)
        ):
            return  # a new owner processes the audio again; the previous owner published this partial
        self._speculation = self._scheduler.submit(
            Lane.FINAL,
            lambda: self._recognizer.window(segment, utterance.end, config, utterance),
            audio=utterance.end - segment.start,
            deadline=time.monotonic() + max(OVERDUE_S, self._until_endpoint(utterance)),
        )
        hypothesis = await _answer(self._speculation)
        self._speculation = None
        if hypothesis is None:
            return
        segment.end = utterance.end
        segment.speculation = hypothesis
        improving = self._recognizer.should_improve(hypothesis)
        await self._publish(segment, hypothesis, utterance.end, config, Lane.FINAL, paused=not improving)
        if improving and segment.speculation is hypothesis:
            deadline = time.monotonic() + self._until_endpoint(utterance) + IMPROVED_BY_S
            self._improving = asyncio.create_task(
                self._recognizer.improve(segment, utterance, config, hypothesis, deadline)
            )
            self._improving.add_done_callback(lambda _: self._source.changed.set())

    async def _show_improved(self, improving: asyncio.Task[Hypothesis]) -> None:
        """Publish the speculation as it is after its further decodes."""
        self._improving = None
        segment = self._current
        if segment is not None and not improving.cancelled():
            segment.speculation = improving.result()
            config = self._source.config
            await self._publish(segment, segment.speculation, segment.end, config, Lane.FINAL, paused=True)

    def _until_endpoint(self, utterance: Utterance) -> float:
        """Seconds until the present pause ends the segment; at least 0."""
        segmenter = self._source.segmenter
        return max(0.0, seconds(segmenter.options.silence - (segmenter.detected - utterance.speech_end)))

    async def _publish(
        self,
        segment: OpenSegment,
        hypothesis: Hypothesis,
        end: int,
        config: SessionConfig,
        lane: Lane,
        *,
        paused: bool = False,
    ) -> None:
        """Add a hypothesis to the segment, and publish the partial together with the segment's state.

        `paused`: whether it is the final's, unless speech continues.
        A hypothesis in a wrong language is dropped: the next window is decoded in the right one.
        """
        if await self._recognizer.has_other_language(segment, hypothesis, end, config, lane):
            return
        primes = self._scheduler.engine.info.primes
        segment.take(hypothesis, end, hold_from=self._hold_from, task=config.task, primes=primes)
        self._decoded = max(self._decoded, end)
        body = b""
        if segment.has_words and config.interim:
            partial = segment.partial(self._sid, config)
            if paused:
                partial = partial.model_copy(update={"paused": True})
            if stages := self._stages.wanted(config):
                audio = self._finals.audio(segment.start, end, config)
                partial = await self._stages.partial(partial, stages, audio)
            body = encode(partial)
        await self._log.publish(body, decoded=end, state=segment.dump())

    # --- segments -----------------------------------------------------------------------------

    def _number(self, utterance: Utterance) -> int:
        """The number of the segment that begins with an utterance."""
        return utterance.index + self._divided

    async def _open(self, utterance: Utterance) -> None:
        resumed = self._resumable
        self._resumable = None
        number = self._number(utterance)
        if resumed is not None and resumed.index == number:
            self._current = resumed  # the previous owner published its start and its stable text
            return
        self._current = OpenSegment(number, utterance.start, utterance.onset)
        self._resumed = None
        event = SpeechStarted(session_id=self._sid, segment=number, start=seconds(utterance.onset))
        await self._log.publish(encode(event), state=self._current.dump())
        self.request_partial()

    async def _finish(self, step: FinishStep) -> None:
        """Publish a segment's final and the events that follow it, and store the checkpoint, atomically."""
        events: list[PersistedEvent] = []
        utterance = step.utterance
        if utterance is not None:
            events += await self._final(utterance, step.config)
            self._current = None
            finals = sum(isinstance(event, FinalTranscript) for event in events)
            self._segments += finals
            self._divided += finals - 1
        match step.command:
            case Flush():
                events.append(Flushed(session_id=self._sid))
            case End() as end:
                events += await self._finals.end(step.config)
                events += closing_events(self._sid, end, received=step.received, segments=self._segments)
                self._segments = max(1, self._segments)
        self._decoded = max(self._decoded, utterance.end if utterance else step.checkpoint.offset)
        settled = max(self._settled, self._decoded)
        self._scheduler.note_settled(seconds(settled - self._settled), live=True)
        self._settled = settled
        state = {
            **step.checkpoint.snapshot,
            "context": self._recognizer.context.dump(),
            "languages": self._recognizer.languages.dump(),
            "stages": self._stages.dump(),
            "divided": self._divided,
        }
        covers = step.checkpoint.settled
        await self._log.commit(
            [event if isinstance(event, Status) else covering(event, covers) for event in events],
            decoded=self._decoded,
            segments=self._segments,
            checkpoint=replace(step.checkpoint, snapshot=state),
            close=isinstance(step.command, End),
            counted=step.received if isinstance(step.command, End) else covers,
        )
        if utterance is not None:
            took = time.monotonic() - step.detected_at
            metrics.LATENCIES.observe("final", took)
            tracing.note(
                "final", took, segment=self._segments - 1, audio_s=seconds(utterance.end - utterance.start)
            )

    async def _final(self, utterance: Utterance, config: SessionConfig) -> list[PersistedEvent]:
        segment = self._current
        assert segment is not None
        assert segment.index == self._number(utterance)
        hypothesis = segment.speculation if segment.end == utterance.end else None
        if hypothesis is None:
            self._stop_improving()
            hypothesis = await self._decoded_final(segment, utterance, config)
        elif self._improving is not None:
            hypothesis = await self._improving
            self._improving = None
        if hypothesis is not None and await self._recognizer.has_other_language(
            segment, hypothesis, utterance.end, config, Lane.FINAL
        ):
            hypothesis = await self._recognizer.recognize(
                segment, utterance.end, config, Lane.FINAL, utterance
            )
        return await self._finals.events(segment, utterance, hypothesis, config)

    async def _decoded_final(
        self, segment: OpenSegment, utterance: Utterance, config: SessionConfig
    ) -> Hypothesis | None:
        """The hypothesis of a final that was not decoded before its endpoint."""
        now = time.monotonic()
        hypothesis = await self._recognizer.recognize(
            segment, utterance.end, config, Lane.FINAL, utterance, deadline=now + OVERDUE_S
        )
        if hypothesis is None:
            return None
        # A segment that is cut because of its length has less silence behind it than an endpoint needs.
        deadline = now + self._until_endpoint(utterance) + IMPROVED_BY_S
        return await self._recognizer.improve(segment, utterance, config, hypothesis, deadline)


async def _answer(ticket: Ticket) -> Hypothesis | None:
    """The answer to a ticket; None if it was withdrawn or the engine failed."""
    try:
        return await ticket.answer
    except EngineError as error:
        note_failure(error)
        return None
