"""Cuts a session's windows with their context, prefix and draft, and has the engine decode them."""

import structlog

from parlando.domain.audio import seconds, to_float
from parlando.domain.config import SessionConfig
from parlando.errors import EngineError
from transcriber import metrics
from transcriber.engines.base import Hypothesis, Window
from transcriber.pipeline.context import SettledContext
from transcriber.pipeline.open_segment import OpenSegment
from transcriber.pipeline.segmenter import Segmenter, Utterance
from transcriber.recognition.scheduler import Lane, Scheduler

log = structlog.get_logger(part="recognizer")


def note_failure(error: EngineError) -> None:
    """Count and log that the engine failed on a window."""
    metrics.ENGINE_ERRORS.inc()
    log.error("engine.failed", error=str(error))


class Recognizer:
    """One session's access to the engine. `context`: the earlier segments. `always_redecode`: windows may be
    decoded again even under load.
    """

    def __init__(
        self, scheduler: Scheduler, segmenter: Segmenter, context: SettledContext, *, always_redecode: bool
    ) -> None:
        self._scheduler = scheduler
        self._segmenter = segmenter
        self._always_redecode = always_redecode
        self.context = context

    async def recognize(
        self,
        segment: OpenSegment,
        end: int,
        config: SessionConfig,
        lane: Lane,
        utterance: Utterance | None = None,
    ) -> Hypothesis | None:
        """The engine's hypothesis of the segment up to sample `end`; None if the engine failed."""
        ticket = self._scheduler.submit(lane, lambda: self.window(segment, end, config, utterance))
        try:
            return await ticket.answer
        except EngineError as error:
            note_failure(error)
            return None

    def window(
        self, segment: OpenSegment, end: int, config: SessionConfig, utterance: Utterance | None = None
    ) -> Window:
        """The segment's window up to sample `end`; for a final if `utterance` is given."""
        committed, tail = segment.agreement.committed, segment.agreement.tail
        audio = self._segmenter.audio
        if utterance is None:
            return Window(
                to_float(audio.slice(segment.start, end)),
                prefix=committed if self._scheduler.engine.info.primes else (),
                draft=tail,
                language=config.language,
                prompt=config.prompt,
                redecode=self._always_redecode or self._scheduler.partial_interval.relaxed,
            )
        # A final has no prefix, so that a wrongly committed word doesn't affect the words that follow it.
        # While other finals wait, it is decoded once and without context, which takes about half the time.
        redecode = self._always_redecode or not self._scheduler.has_queued_finals
        begin, context = self.context.before(segment.start)
        if begin < audio.start or not redecode:
            begin, context = segment.start, ()
        return Window(
            to_float(audio.slice(begin, end)),
            context=context,
            context_samples=segment.start - begin,
            draft=committed + tail,
            language=config.language,
            prompt=config.prompt,
            words=config.words,
            final=True,
            voiced_s=seconds(utterance.voiced),
            redecode=redecode,
        )
