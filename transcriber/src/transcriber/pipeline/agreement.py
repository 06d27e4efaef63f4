"""LocalAgreement-2: a word is stable once two hypotheses in a row say it. Pure.

Source: Liu, Spanakis, Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation
by Partial Hypothesis Selection" (2020). It holds only for windows that all begin at the same sample.
"""

from collections.abc import Sequence
from typing import Final

from parlando.domain.transcript import bare
from transcriber.engines.base import Word

NEWEST: Final = 2  # words at the end of a hypothesis that are never committed
SURE: Final = 0.95  # probability that both hypotheses must give a word, where the engine tells it

Words = tuple[Word, ...]


def _same(a: Word, b: Word) -> bool:
    return bare(a.text) == bare(b.text)


def _sure(word: Word) -> bool:
    return word.probability is None or word.probability >= SURE


def tail_behind(committed: Sequence[Word], words: Words) -> Words:
    """The part of a hypothesis behind the committed words.

    Engines that honour a prefix begin with the committed words; for others the cut that costs the
    fewest word edits is taken, the one nearest to the number of committed words among equals.
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
    """The committed words of one segment, and the tail of its last hypothesis."""

    def __init__(self, committed: Words = (), tail: Words = ()) -> None:
        self.committed = committed
        self.tail = tail

    def insert(self, words: Words, *, hold: bool = False) -> None:
        """Take a hypothesis of the whole segment so far.

        Commits what it shares with the one before and both are sure of, but never its newest words,
        and nothing if `hold`. A word committed wrongly spoils its final: hence the caution.
        """
        tail = tail_behind(self.committed, words)
        agreed = 0
        if not hold:
            for old, new in zip(self.tail, tail[:-NEWEST], strict=False):
                if not (_same(old, new) and _sure(old) and _sure(new)):
                    break
                agreed += 1
        self.committed += tail[:agreed]
        self.tail = tail[agreed:]

    def settle(self, words: Words) -> Words:
        """The final words: what was committed, then what the last hypothesis has behind it."""
        return self.committed + tail_behind(self.committed, words)
