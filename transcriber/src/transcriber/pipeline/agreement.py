"""LocalAgreement-2: a word is stable once two consecutive hypotheses contain it. Pure.

Of a word of which the engine isn't sure, all hypotheses over a longer time must agree. This second rule isn't
for engines whose partials begin with the committed words (`EngineInfo.primes`): a wrong one would cause
errors in the words behind it.

Source: Liu, Spanakis, Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation
by Partial Hypothesis Selection" (2020). It requires that all windows begin at the same sample.
"""

from collections.abc import Sequence
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.transcript import bare
from transcriber.engines.base import Word

UNCOMMITTED_WORDS: Final = 2  # words at the end of a hypothesis that are never committed
SURE_PROBABILITY: Final = 0.95  # of a word in two hypotheses, where the engine gives probabilities …
LONG_AGREED: Final = 2 * SAMPLE_RATE  # … or all hypotheses of this many new samples contain the word …
MIN_PROBABILITY: Final = 0.6  # … and it has this probability in the newest one

Words = tuple[Word, ...]


def _same(a: Word, b: Word) -> bool:
    return bare(a.text) == bare(b.text)


def _is_probable(word: Word, least: float) -> bool:
    return word.probability is None or word.probability >= least


def _is_stable(old: Word, new: Word, agreed: int) -> bool:
    """Whether a word of two hypotheses may be committed; all hypotheses of `agreed` samples contain it."""
    sure = _is_probable(old, SURE_PROBABILITY) and _is_probable(new, SURE_PROBABILITY)
    return sure or (agreed >= LONG_AGREED and _is_probable(new, MIN_PROBABILITY))


def tail_behind(committed: Sequence[Word], words: Words) -> Words:
    """The words of a hypothesis that follow the committed words.

    If the hypothesis doesn't begin with the committed words, the cut with the smallest word edit distance
    to them is used; among equals, the one nearest to the number of committed words.
    """
    if len(words) >= len(committed) and all(_same(a, b) for a, b in zip(committed, words, strict=False)):
        return words[len(committed) :]
    costs = list(range(len(words) + 1))
    for row, word in enumerate(committed, start=1):
        diagonal, costs[0] = costs[0], row
        for column, detected in enumerate(words, start=1):
            change = diagonal + (not _same(word, detected))
            diagonal = costs[column]
            costs[column] = min(change, costs[column] + 1, costs[column - 1] + 1)
    cut = min(range(len(words) + 1), key=lambda end: (costs[end], abs(end - len(committed))))
    return words[cut:]


class LocalAgreement:
    """The committed words of one segment, and the tail of its last hypothesis.

    `since`: for each word of the tail, the end, in samples, of the first of the consecutive hypotheses that
    contain it and all words before it.
    """

    def __init__(self, committed: Words = (), tail: Words = (), since: Sequence[int] = ()) -> None:
        self.committed = committed
        self.tail = tail
        self.since = tuple(since)

    def insert(self, words: Words, end: int, *, hold: bool = False, primes: bool = False) -> None:
        """Add a hypothesis of the whole segment up to sample `end`. `primes`: see `EngineInfo`.

        Commits the words that it has in common with the previous hypotheses, except its newest words;
        commits nothing if `hold`. The rule is strict because committed words can't be corrected by the final.
        """
        tail = tail_behind(self.committed, words)
        common = self._common(tail)
        since = self.since[:common] + (end,) * (len(tail) - common)
        agreed = 0
        if not hold:
            for old, new, first in zip(self.tail[:common], tail[:-UNCOMMITTED_WORDS], since, strict=False):
                if not _is_stable(old, new, 0 if primes else end - first):
                    break
                agreed += 1
        self.committed += tail[:agreed]
        self.tail, self.since = tail[agreed:], since[agreed:]

    def _common(self, tail: Words) -> int:
        """How many words at the beginning of a new tail are those of the present tail."""
        pairs = enumerate(zip(self.tail, tail, strict=False))
        return next((at for at, (old, new) in pairs if not _same(old, new)), min(len(self.tail), len(tail)))

    def settle(self, words: Words) -> Words:
        """The final words: the committed ones, then those that follow them in the last hypothesis."""
        return self.committed + tail_behind(self.committed, words)
