"""The finals of a live session: from the last hypothesis of an utterance to its events."""

from dataclasses import replace
from typing import TYPE_CHECKING

from parlando.domain.audio import milliseconds, seconds, to_float
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, PersistedEvent, Status
from parlando.store.session_log import RecognitionClaim
from transcriber import metrics
from transcriber.engines.base import Hypothesis
from transcriber.known_speakers import KnownSpeakersCache
from transcriber.pipeline.audio_input import AudioInput
from transcriber.pipeline.open_segment import OpenSegment
from transcriber.pipeline.segmenter import Utterance
from transcriber.pipeline.session_events import language_event
from transcriber.pipeline.speaker_runs import divided, named
from transcriber.pipeline.stages.base import StageAudio
from transcriber.pipeline.stages.chain import StageChain
from transcriber.recognition.recognizer import Recognizer
from transcriber.recognition.scheduler import Scheduler

if TYPE_CHECKING:
    from transcriber.speakers.known import KnownVoices


class Finals:
    """Makes the finals of one session, with the changes of its stages."""

    def __init__(
        self,
        claim: RecognitionClaim,
        source: AudioInput,
        scheduler: Scheduler,
        recognizer: Recognizer,
        stages: StageChain,
        known: KnownSpeakersCache | None,
    ) -> None:
        self._sid = claim.keys.sid
        self._owner = claim.key
        self._known = known
        self._source = source
        self._scheduler = scheduler
        self._recognizer = recognizer
        self._stages = stages

    async def events(
        self, segment: OpenSegment, utterance: Utterance, hypothesis: Hypothesis | None, config: SessionConfig
    ) -> list[PersistedEvent]:
        """The final, divided where its speaker changes, and the events that belong to it.

        `hypothesis`: None if the engine failed.
        """
        if hypothesis is None:  # the engine failed: the final has only the stable words
            final = segment.final(self._sid, utterance, Hypothesis((), reason="engine_failed"), config)
            lost = milliseconds(utterance.end - utterance.start)
            status = Status(session_id=self._sid, status="lost", ms=lost, reason="engine_failed")
            metrics.SETTLED.labels("engine_failed").inc()
            return [status, *await self._staged(final, segment, utterance, config)]
        hypothesis = segment.in_sentence(hypothesis)
        final = segment.final(self._sid, utterance, hypothesis, config)
        self._recognizer.context.add(segment.start, utterance.end, segment.settled(hypothesis))
        metrics.SETTLED.labels(final.reason or "text").inc()
        changes = self._language_changes(segment, utterance, hypothesis, config)
        if final.text:
            translations = await self._recognizer.translations(segment, utterance, config, final.language)
            final = final.model_copy(update={"translations": translations})
        return [*await self._staged(final, segment, utterance, config), *changes]

    def _language_changes(
        self, segment: OpenSegment, utterance: Utterance, hypothesis: Hypothesis, config: SessionConfig
    ) -> list[PersistedEvent]:
        if not hypothesis.words:
            return []
        segment.fix_language(hypothesis, segment.speech(utterance.speech_end))
        change = self._recognizer.languages.settle(config.languages, segment.spoken, hypothesis.confidence)
        return [] if change is None else [language_event(self._sid, change)]

    def audio(self, start: int, end: int, config: SessionConfig) -> StageAudio:
        """The session's audio from sample `start` to `end`, for stages."""
        pcm = to_float(self._source.segmenter.audio.slice(start, end))
        return StageAudio(pcm, seconds(start), config, self._scheduler.cadence.hurried)

    async def end(self, config: SessionConfig) -> list[PersistedEvent]:
        """The events of the stages at the end of the session."""
        return await self._stages.end(config, await self._voices(config))

    async def _voices(self, config: SessionConfig) -> "KnownVoices | None":
        """Those of the known speakers that the session asks for."""
        if self._known is None or not config.diarize or not config.known_speakers:
            return None
        return await self._known.voices(self._owner, config.known_speakers)

    async def _staged(
        self, final: FinalTranscript, segment: OpenSegment, utterance: Utterance, config: SessionConfig
    ) -> list[PersistedEvent]:
        stages = self._stages.wanted(config) if final.text else []
        if not stages:
            return [_stripped(final, config)]
        audio = self.audio(segment.start, utterance.end, config)
        audio = replace(audio, known=await self._voices(config))
        final = await self._stages.final(final, stages, audio)
        events = await self._stages.after_final(final, stages)
        return [*(_stripped(named(part), config) for part in divided(final, config.task)), *events]


def _stripped(final: FinalTranscript, config: SessionConfig) -> FinalTranscript:
    """The final without words if they were needed for the speakers only."""
    return final if config.words or final.words is None else final.model_copy(update={"words": None})
