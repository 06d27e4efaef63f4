"""Figures from what a client saw: word errors, first words, tail. Pure: no clock, no I/O.

Word errors: words of `EnglishTextNormalizer`, as in Whisper's paper. First words: from the start of a clip's
speech until text of it is shown. Tail: from the last frame sent until the text changes for the last time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

import jiwer
import numpy as np
from whisper.normalizers import EnglishTextNormalizer

# The alignment of shown words with spoken ones: points for each step. A spoken word that is left out costs
# little, so that the words behind a gap (audio that a server has dropped) are recognised as what they are.
HIT, WRONG, ADDED, LEFT_OUT = 1.0, -1.0, -1.0, -0.25

normal = EnglishTextNormalizer()


@dataclass
class Trace:
    """What a client did and saw. Times in seconds of one clock.

    `started`: when the first frame was sent; `ended`: when the last one was. `shown`: every change of the
    whole text, and its time. `failure`: why the session was refused or broken off; empty if it wasn't.
    """

    started: float = 0.0
    ended: float = 0.0
    shown: list[tuple[float, str]] = field(default_factory=list)
    failure: str = ""

    def show(self, at: float, text: str) -> None:
        """Add the text that is visible at a time, if it has changed."""
        if text != self.text:
            self.shown.append((at, text))

    @property
    def text(self) -> str:
        """The text that is shown in the end."""
        return self.shown[-1][1] if self.shown else ""

    @property
    def tail_s(self) -> float:
        """Seconds from the last frame until the text changes for the last time."""
        return max(0.0, self.shown[-1][0] - self.ended) if self.shown else 0.0


class NativeText:
    """The whole text of a native session: finals, and the open segment's partial."""

    def __init__(self) -> None:
        self._finals: dict[int, str] = {}

    def take(self, event: dict[str, Any]) -> str | None:
        """The whole text after an event; None if the event shows none."""
        if event["type"] == "final":
            self._finals[event["segment"]] = event["text"]
            return self._joined()
        if event["type"] == "partial":
            return self._joined(event["text"])
        return None

    def _joined(self, last: str = "") -> str:
        return " ".join(text for text in (*self._finals.values(), last) if text)


class Progress:
    """How far a text that grows and changes has got in the words spoken.

    The text is aligned with every beginning of `spoken` (Needleman and Wunsch); the beginning with the most
    points, the shortest among equals, is what it covers. Rows of words that stay are kept between calls.
    """

    def __init__(self, spoken: Sequence[str]) -> None:
        self._spoken = np.array(spoken, dtype=object)
        self._left_out = LEFT_OUT * np.arange(len(spoken) + 1)
        self._words: list[str] = []
        self._rows = [self._left_out.copy()]

    def reached(self, words: Sequence[str], limit: int | None = None) -> int:
        """The number of spoken words covered by `words`, at most `limit`."""
        pairs = zip(self._words, words, strict=False)
        kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        del self._rows[kept + 1 :]
        for word in words[kept:]:
            above = self._rows[-1]
            row = above + ADDED
            matched = above[:-1] + np.where(self._spoken == word, HIT, WRONG)
            row[1:] = np.maximum(row[1:], matched)
            self._rows.append(np.maximum.accumulate(row - self._left_out) + self._left_out)
        self._words = list(words)
        stop = None if limit is None else limit + 1
        return int(np.argmax(self._rows[-1][:stop]))


def first_words(trace: Trace, texts: Sequence[str], onsets: Sequence[float]) -> list[float | None]:
    """For each clip the seconds from the start of its speech until text of it is shown; None if it never is.

    `texts`: what each clip says. `onsets`: second of the audio at which its speech starts.
    """
    spoken = [normal(text).split() for text in texts]
    ends = np.cumsum([0, *map(len, spoken)])
    progress = Progress([word for words in spoken for word in words])
    delays: list[float | None] = [None] * len(texts)
    for at, text in trace.shown:
        begun = sum(onset <= at - trace.started for onset in onsets)
        reached = progress.reached(normal(text).split(), int(ends[begun]))
        for number, (start, _) in enumerate(pairwise(ends)):
            if delays[number] is None and reached > start:
                delays[number] = at - trace.started - onsets[number]
    return delays


@dataclass(frozen=True)
class WordErrors:
    """Word errors of some texts. `missing`: spoken words that no word stands for."""

    spoken: int
    wrong: int
    missing: int
    added: int

    @property
    def rate(self) -> float:
        """The word error rate in per cent."""
        return 100 * (self.wrong + self.missing + self.added) / self.spoken

    @property
    def missing_rate(self) -> float:
        """Missing words in per cent of the spoken ones."""
        return 100 * self.missing / self.spoken


def word_errors(references: Iterable[str], texts: Iterable[str]) -> WordErrors:
    """The word errors of pairs of texts."""
    found = jiwer.process_words([normal(text) for text in references], [normal(text) for text in texts])
    total = found.hits + found.substitutions + found.deletions
    return WordErrors(total, found.substitutions, found.deletions, found.insertions)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The quantile of some values; None if there are none."""
    return float(np.quantile(values, share)) if values else None
