"""Cuts a session's windows with their context, prefix and draft, and has the engine decode them."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import structlog

from parlando.domain.audio import SAMPLE_RATE, samples, seconds, to_float
from parlando.domain.config import SessionConfig
from parlando.domain.decode_options import ENGLISH
from parlando.errors import EngineError
from transcriber import metrics
from transcriber.engines.base import Hypothesis, Window, Word
from transcriber.pipeline.context import SettledContext
from transcriber.pipeline.language import LanguageTracker, detected
from transcriber.pipeline.open_segment import OpenSegment
from transcriber.pipeline.segmenter import Segmenter, Utterance
from transcriber.recognition.deadlines import Lane
from transcriber.recognition.scheduler import Scheduler

SENTENCE_PAUSE: Final = SAMPLE_RATE  # a longer silence between two segments always ends a sentence
SEAM_SPEECH: Final = samples(600)  # speech of a segment that tells whether it begins a sentence
DOUBTFUL: Final = (0.88, 0.8)  # confidence below which a final is decoded again under load, and once more, …
WANTED_WITHIN: Final = 0.35  # … due after this share of the time that is left

log = structlog.get_logger(part="recognizer")


def note_failure(error: EngineError) -> None:
    """Count and log that the engine failed on a window."""
    metrics.ENGINE_ERRORS.inc()
    log.error("engine.failed", error=str(error))


def is_doubtful(hypothesis: Hypothesis, attempts: int) -> bool:
    """Whether a final is so uncertain, after some further decodes, that another one is due soon."""
    limit = DOUBTFUL[min(attempts, len(DOUBTFUL) - 1)]
    return hypothesis.confidence is None or hypothesis.confidence < limit


def _given(window: Window) -> Callable[[], Window]:
    return lambda: window


class Recognizer:
    """One session's access to the engine. `context`: the earlier segments. `languages`: their languages.
    `reproducible`: what is decoded, and how, doesn't depend on the load.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        segmenter: Segmenter,
        context: SettledContext,
        languages: LanguageTracker,
        *,
        reproducible: bool,
    ) -> None:
        self._scheduler = scheduler
        self._segmenter = segmenter
        self._reproducible = reproducible
        self.context = context
        self.languages = languages

    async def recognize(
        self,
        segment: OpenSegment,
        end: int,
        config: SessionConfig,
        lane: Lane,
        utterance: Utterance | None = None,
        *,
        deadline: float | None = None,
    ) -> Hypothesis | None:
        """The engine's hypothesis of the segment up to sample `end`; None if the engine failed.

        `deadline`: see `Scheduler.submit`.
        """
        return await self._decode(
            lane, lambda: self.window(segment, end, config, utterance), end - segment.start, deadline
        )

    async def improve(
        self,
        segment: OpenSegment,
        utterance: Utterance,
        config: SessionConfig,
        hypothesis: Hypothesis,
        deadline: float,
    ) -> Hypothesis:
        """The best hypothesis of a final that can be decoded until `deadline` (of `time.monotonic`).

        Cancel the task that runs it if the result is no longer needed.
        """
        best, attempt = hypothesis, 0
        if not self.should_improve(best):
            return best
        window = self.window(segment, utterance.end, config, utterance, improves=True)
        while self.should_improve(best, attempt):
            attempt += 1
            again = _given(replace(window, earlier=best, attempt=attempt))
            now = time.monotonic()
            # Decoded just before `deadline`, one further decode would leave no time for the next.
            soon = now + (deadline - now) * WANTED_WITHIN if is_doubtful(best, attempt - 1) else deadline
            answer = await self._decode(Lane.REDECODE, again, len(window.samples), soon, expires=deadline)
            if answer is None:
                break
            best = answer
        return best

    def should_improve(self, hypothesis: Hypothesis, attempts: int = 0) -> bool:
        """Whether a final's hypothesis is to be decoded in a further way, if there is time before a deadline.

        Under load only the doubtful ones are: there, half of the decodes bring nearly all of the gain.
        `attempts`: further decodes so far.
        """
        return hypothesis.improvable and (is_doubtful(hypothesis, attempts) or self._allows_context)

    async def has_other_language(
        self, segment: OpenSegment, hypothesis: Hypothesis, end: int, config: SessionConfig, lane: Lane
    ) -> bool:
        """Whether the segment is in another language than the locked one, in which `hypothesis` was decoded.

        If it is, the segment's language is changed. Checked once in a segment, and only if there are doubts.
        """
        choice, speech = config.languages, segment.speech(end)
        can_detect = "detect_language" in self._scheduler.engine.info.tasks
        if segment.doubted or not can_detect or not self.languages.doubts(choice, hypothesis, speech):
            return False
        segment.doubted = True
        window = Window(
            to_float(self._segmenter.audio.slice(segment.start, end)),
            languages=choice,
            task="detect_language",
        )
        answer = await self._decode(lane, lambda: window, len(window.samples))
        found = answer and detected(answer)
        if not found or not found.is_trusted:
            return False
        if found.language == hypothesis.language:
            segment.spoken = found
            return False
        segment.change_language(found)
        return True

    async def translations(
        self, segment: OpenSegment, utterance: Utterance, config: SessionConfig, spoken: str | None
    ) -> dict[str, str] | None:
        """The translations of a segment in the language `spoken` that the config requests.

        None if it requests none, or the engine failed.
        """
        possible = "translate" in self._scheduler.engine.info.tasks
        if not (config.translations and possible) or config.task == "translate" or spoken == ENGLISH:
            return None

        def window() -> Window:
            whole = self.window(segment, utterance.end, config, utterance)
            return replace(
                whole,
                samples=whole.samples[whole.context_samples :],
                context=(),
                context_samples=0,
                draft=(),
                task="translate",
                language=spoken,
                words=False,
            )

        hypothesis = await self._decode(Lane.FINAL, window, utterance.end - segment.start)
        return {ENGLISH: hypothesis.text} if hypothesis is not None and hypothesis.words else None

    async def _decode(
        self,
        lane: Lane,
        window: Callable[[], Window],
        audio: int,
        deadline: float | None = None,
        *,
        expires: float | None = None,
    ) -> Hypothesis | None:
        ticket = self._scheduler.submit(lane, window, audio=audio, deadline=deadline, expires=expires)
        try:
            return await ticket.answer
        except EngineError as error:
            note_failure(error)
            return None
        finally:
            self._scheduler.withdraw(ticket)

    def window(
        self,
        segment: OpenSegment,
        end: int,
        config: SessionConfig,
        utterance: Utterance | None = None,
        *,
        improves: bool = False,
    ) -> Window:
        """The segment's window up to sample `end`; for a final if `utterance` is given.

        `improves`: for further decodes, which have the context under load, too.
        """
        committed, tail = segment.agreement.committed, segment.agreement.tail
        audio, options = (
            self._segmenter.audio,
            self._options(segment, end, config, final=utterance is not None),
        )
        begin, context = self._context(segment) if improves or self._allows_context else (segment.start, ())
        if utterance is None:
            if not (context and context[-1].text.endswith(".") and self._tells_sentence(segment, end)):
                begin, context = segment.start, ()
            segment.asked = segment.asked or bool(context)
            return Window(
                to_float(audio.slice(begin, end)),
                context=context,
                context_samples=segment.start - begin,
                lead_samples=segment.onset - segment.start,
                tells_sentence=bool(context),
                prefix=committed if self._scheduler.engine.info.primes else (),
                draft=tail,
                redecode=self._reproducible or self._scheduler.cadence.allows_redecode,
                **options,
            )
        # A final has no prefix, so that a wrongly committed word doesn't affect the words that follow it.
        scheduler = self._scheduler
        redecode = self._reproducible or not (scheduler.engine.info.improves or scheduler.has_queued_finals)
        return Window(
            to_float(audio.slice(begin, end)),
            context=context,
            context_samples=segment.start - begin,
            tells_sentence=bool(context) and self.context.ends_before(segment.onset, SENTENCE_PAUSE),
            # Finals decoded once have fewer errors without it; with further decodes, plurals are lost.
            lead_samples=0 if self._allows_context else segment.onset - segment.start,
            draft=committed + tail,
            words=config.timed or (self._allows_context and self.context.needs_times(end - segment.start)),
            final=True,
            voiced_s=seconds(utterance.voiced),
            redecode=redecode,
            **options,
        )

    def _context(self, segment: OpenSegment) -> tuple[int, tuple[Word, ...]]:
        """The context of the segment, if its audio is kept: its first sample, and its words."""
        begin, context = self.context.before(segment.start)
        return (begin, context) if begin >= self._segmenter.audio.start else (segment.start, ())

    @property
    def _allows_context(self) -> bool:
        """Whether there is time to decode with the audio before a segment."""
        return self._reproducible or self._scheduler.cadence.allows_context

    def _tells_sentence(self, segment: OpenSegment, end: int) -> bool:
        """Whether a partial is decoded with the context, to tell whether the segment begins a sentence.

        That is needed once, when enough has been said and before the first word becomes stable.
        """
        return (
            segment.first_word is None
            and not segment.asked
            and segment.has_words
            and not segment.agreement.committed
            and segment.speech(end) >= SEAM_SPEECH
            and self.context.ends_before(segment.onset, SENTENCE_PAUSE)
        )

    def _options(
        self, segment: OpenSegment, end: int, config: SessionConfig, *, final: bool
    ) -> dict[str, Any]:
        """The fields of a window that the config and the languages so far determine."""
        choice = config.languages
        language = self.languages.expected(choice, segment.speech(end))
        spoken = segment.spoken
        if spoken is not None and (not choice or spoken.language in choice):
            again = final and not segment.agreement.committed and not segment.doubted
            language = language if again else spoken.language
        return {
            "language": language,
            "languages": choice,
            "task": config.task,
            "prompt": config.prompt,
            "hotwords": config.hotwords,
        }
