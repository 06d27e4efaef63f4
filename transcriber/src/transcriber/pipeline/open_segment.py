"""A segment without a final yet: its hypotheses, and the partials and the final made of them. Pure.

`dump` is stored with every partial. A new owner continues from it, so that the text that clients received as
stable stays the beginning of the final.
"""

from dataclasses import asdict, replace
from typing import Any

from parlando.domain.audio import SAMPLE_RATE, seconds
from parlando.domain.config import SessionConfig
from parlando.domain.decode_options import written_in
from parlando.domain.events import FinalTranscript, Partial
from parlando.domain.transcript import TimedWord, bare, join
from parlando.domain.word_spans import with_lengths
from transcriber.engines.base import Hypothesis, dump_words, load_words, with_first_as
from transcriber.pipeline.agreement import LocalAgreement, Words
from transcriber.pipeline.language import Detected, detected
from transcriber.pipeline.segmenter import Utterance


class OpenSegment:
    """The words of an open segment. Positions in samples; it has been decoded up to `end`.

    `spoken`: its language, once detected from enough speech, or that of its stable text. It doesn't change
    then, except that the whole segment's is detected again if no text is stable.
    `doubted`: whether the session's locked language was checked in this segment.
    `first_word`: how its first word is written if it goes on the sentence of the segment before; "" if it
    begins a sentence; None if that is unknown. `asked`: whether a partial was decoded to tell it.
    """

    def __init__(self, index: int, start: int, onset: int) -> None:
        self.index = index
        self.start = start
        self.onset = onset
        self.end = 0
        self.agreement = LocalAgreement()
        self.speculation: Hypothesis | None = None
        self.confidence: float | None = None
        self.language: str | None = None
        self.spoken: Detected | None = None
        self.doubted = False
        self.first_word: str | None = None
        self.asked = False
        self._task = "transcribe"

    @property
    def has_words(self) -> bool:
        """Whether any word has been recognised in it."""
        return bool(self.agreement.committed or self.agreement.tail)

    def in_sentence(self, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis, written as the rest of a sentence if it is that.

        What one hypothesis with audio of the segment before tells is kept for those without.
        """
        if hypothesis.goes_on is not None and hypothesis.words:
            self.first_word = hypothesis.words[0].text if hypothesis.goes_on else ""
        if not self.first_word or not hypothesis.words:
            return hypothesis
        return replace(hypothesis, words=with_first_as(hypothesis.words, self.first_word))

    def speech(self, end: int) -> int:
        """Samples of speech up to sample `end`, short silences included."""
        return end - self.onset

    def take(
        self,
        hypothesis: Hypothesis,
        end: int,
        *,
        hold_from: int,
        task: str = "transcribe",
        primes: bool = False,
    ) -> None:
        """Add a hypothesis of [start, end) for `task`. `primes`: see `EngineInfo`.

        Nothing new is committed if the segment is longer than `hold_from` samples, because it may be cut
        before its newest words.
        """
        self.end = end
        if hypothesis is not self.speculation:
            self.speculation = None
        hypothesis = self.in_sentence(hypothesis)
        self.confidence, self.language = hypothesis.confidence, hypothesis.language
        self._task = task
        self.agreement.insert(hypothesis.words, end, hold=end - self.start > hold_from, primes=primes)
        self.fix_language(hypothesis, self.speech(end))

    def fix_language(self, hypothesis: Hypothesis, speech: int) -> None:
        """Keep the language detected in a hypothesis with `speech` samples of speech, if it is to be kept."""
        found = detected(hypothesis)
        if found is not None and (
            found.is_settled(speech) or (self.spoken is None and self.agreement.committed)
        ):
            self.spoken = found

    def change_language(self, found: Detected) -> None:
        """Decode the segment in another language from here on. Its stable text stays."""
        self.spoken = found
        self.speculation = None
        self.agreement = LocalAgreement(self.agreement.committed)

    def partial(self, sid: str, config: SessionConfig) -> Partial:
        """A partial with the present words."""
        committed, tail = self.agreement.committed, self.agreement.tail
        return Partial(
            session_id=sid,
            segment=self.index,
            text=join([word.text for word in committed + tail], written_in(self.language, self._task)),
            stable=self._stable,
            start=seconds(self.onset),
            end=seconds(self.end),
            confidence=self.confidence,
            language=self.language,
            speaker=config.speaker or None,
        )

    @property
    def _stable(self) -> str:
        return join([word.text for word in self.agreement.committed], written_in(self.language, self._task))

    def settled(self, hypothesis: Hypothesis) -> Words:
        """The stable words, then the rest of the last hypothesis.

        Stable words have the times that this hypothesis has for them. If it has other words, only those
        behind the difference have times.
        """
        settled = list(self.agreement.settle(hypothesis.words))
        alike = len(settled) == len(hypothesis.words)
        for back, timed in enumerate(reversed(hypothesis.words[-len(settled) :]), start=1):
            word = settled[-back]
            if not alike and bare(word.text) != bare(timed.text):
                break
            settled[-back] = replace(
                word,
                start=timed.start,
                end=timed.end,
                probability=timed.probability if alike else word.probability,
            )
        return tuple(settled)

    def final(
        self, sid: str, utterance: Utterance, hypothesis: Hypothesis, config: SessionConfig
    ) -> FinalTranscript:
        """The final: the stable words, then the rest of the last hypothesis."""
        settled = self.settled(hypothesis)
        return FinalTranscript(
            session_id=sid,
            segment=self.index,
            text=join([word.text for word in settled], written_in(hypothesis.language, config.task)),
            start=seconds(utterance.onset),
            end=seconds(utterance.speech_end),
            confidence=hypothesis.confidence if settled else None,
            language=hypothesis.language,
            speaker=config.speaker or None,
            words=self._timed(settled, utterance) if config.timed else None,
            reason=None if settled else hypothesis.reason or "no_speech",
            continues=True if utterance.cut else None,
        )

    def _timed(self, settled: Words, utterance: Utterance) -> list[TimedWord]:
        """Words with increasing times inside the segment; estimated from their length where unknown."""
        first, last = utterance.onset / SAMPLE_RATE, utterance.speech_end / SAMPLE_RATE
        offset = self.start / SAMPLE_RATE
        letters = sum(len(word.text) + 1 for word in settled)
        spans, passed = [], 0
        for word in settled:
            estimated_start = first + (last - first) * passed / max(letters, 1)
            passed += len(word.text) + 1
            estimated_end = first + (last - first) * passed / max(letters, 1)
            start = estimated_start if word.start is None else offset + word.start
            end = estimated_end if word.end is None else offset + word.end
            spans.append((start, end))
        return [
            TimedWord(word=word.text, start=start, end=end, confidence=word.probability)
            for word, (start, end) in zip(settled, with_lengths(spans, first, last), strict=True)
        ]

    def dump(self) -> dict[str, Any]:
        """The state, JSON-able."""
        speculation = self.speculation
        return {
            "index": self.index,
            "start": self.start,
            "onset": self.onset,
            "end": self.end,
            "committed": dump_words(self.agreement.committed),
            "tail": dump_words(self.agreement.tail),
            "since": self.agreement.since,
            "confidence": self.confidence,
            "language": self.language,
            "spoken": self.spoken and asdict(self.spoken),
            "doubted": self.doubted,
            "first_word": self.first_word,
            "asked": self.asked,
            "task": self._task,
            "stable": self._stable,
            "speculation": speculation
            and {
                "words": dump_words(speculation.words),
                "language": speculation.language,
                "confidence": speculation.confidence,
                "reason": speculation.reason,
                "language_probability": speculation.language_probability,
                "goes_on": speculation.goes_on,
            },
        }

    @classmethod
    def load(cls, state: dict[str, Any] | None) -> "OpenSegment | None":
        """The segment from a `dump`; None for None."""
        if not state:
            return None
        segment = cls(state["index"], state["start"], state["onset"])
        segment.end = state["end"]
        segment.agreement = LocalAgreement(
            load_words(state["committed"]), load_words(state["tail"]), state["since"]
        )
        segment.confidence, segment.language = state["confidence"], state["language"]
        segment.spoken = Detected(**state["spoken"]) if state.get("spoken") else None
        segment.doubted, segment._task = state.get("doubted", False), state.get("task", "transcribe")
        segment.first_word, segment.asked = state.get("first_word"), state.get("asked", False)
        if saved := state["speculation"]:
            segment.speculation = Hypothesis(**{**saved, "words": load_words(saved["words"])})
        return segment
