"""A segment without a final yet: its hypotheses, and the partials and the final made of them. Pure.

`dump` is stored with every partial. A new owner continues from it, so that the text that clients received as
stable stays the beginning of the final.
"""

from typing import Any

from parlando.domain.audio import SAMPLE_RATE, seconds
from parlando.domain.events import FinalTranscript, Partial
from parlando.domain.transcript import TimedWord, join
from parlando.domain.word_spans import with_lengths
from transcriber.engines.base import Hypothesis, Word, dump_words, load_words
from transcriber.pipeline.agreement import LocalAgreement, Words
from transcriber.pipeline.segmenter import Utterance


class OpenSegment:
    """The words of an open segment. Positions in samples; it has been decoded up to `end`."""

    def __init__(self, index: int, start: int, onset: int) -> None:
        self.index = index
        self.start = start
        self.onset = onset
        self.end = 0
        self.agreement = LocalAgreement()
        self.speculation: Hypothesis | None = None
        self.confidence: float | None = None
        self.language: str | None = None

    @property
    def has_words(self) -> bool:
        """Whether any word has been recognised in it."""
        return bool(self.agreement.committed or self.agreement.tail)

    def take(self, hypothesis: Hypothesis, end: int, *, hold_from: int) -> None:
        """Add a hypothesis of [start, end).

        Nothing new is committed if the segment is longer than `hold_from` samples, because it may be cut
        before its newest words.
        """
        self.end = end
        if hypothesis is not self.speculation:
            self.speculation = None
        self.confidence, self.language = hypothesis.confidence, hypothesis.language
        self.agreement.insert(hypothesis.words, hold=end - self.start > hold_from)

    def partial(self, sid: str) -> Partial:
        """A partial with the present words."""
        committed, tail = self.agreement.committed, self.agreement.tail
        return Partial(
            session_id=sid,
            segment=self.index,
            text=join([word.text for word in committed + tail], self.language),
            stable=join([word.text for word in committed], self.language),
            start=seconds(self.onset),
            end=seconds(self.end),
            confidence=self.confidence,
        )

    def final(
        self, sid: str, utterance: Utterance, hypothesis: Hypothesis, *, words: bool
    ) -> FinalTranscript:
        """The final: the stable words, then the rest of the last hypothesis."""
        settled = self.agreement.settle(hypothesis.words)
        return FinalTranscript(
            session_id=sid,
            segment=self.index,
            text=join([word.text for word in settled], hypothesis.language),
            start=seconds(utterance.onset),
            end=seconds(utterance.speech_end),
            confidence=hypothesis.confidence if settled else None,
            language=hypothesis.language,
            words=self._timed(settled, hypothesis.words, utterance) if words else None,
            reason=None if settled else hypothesis.reason or "no_speech",
        )

    def _timed(self, settled: Words, detected: Words, utterance: Utterance) -> list[TimedWord]:
        """Words with increasing times inside the segment; estimated from their length where unknown."""
        if len(settled) == len(detected):  # the last hypothesis has times for the committed words, too
            settled = tuple(
                Word(word.text, timed.start, timed.end, timed.probability)
                for word, timed in zip(settled, detected, strict=True)
            )
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
            "confidence": self.confidence,
            "language": self.language,
            "stable": join([word.text for word in self.agreement.committed], self.language),
            "speculation": speculation
            and {
                "words": dump_words(speculation.words),
                "language": speculation.language,
                "confidence": speculation.confidence,
                "reason": speculation.reason,
            },
        }

    @classmethod
    def load(cls, state: dict[str, Any] | None) -> "OpenSegment | None":
        """The segment from a `dump`; None for None."""
        if not state:
            return None
        segment = cls(state["index"], state["start"], state["onset"])
        segment.end = state["end"]
        segment.agreement = LocalAgreement(load_words(state["committed"]), load_words(state["tail"]))
        segment.confidence, segment.language = state["confidence"], state["language"]
        saved = state["speculation"]
        if saved:
            segment.speculation = Hypothesis(
                load_words(saved["words"]), saved["language"], saved["confidence"], saved["reason"]
            )
        return segment
