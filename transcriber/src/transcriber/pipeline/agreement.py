"""LocalAgreement-2: a word is stable once two consecutive hypotheses contain it. Pure.

Source: Liu, Spanakis, Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation
by Partial Hypothesis Selection" (2020). It requires that all windows begin at the same sample.
"""

from collections.abc import Sequence
from typing import Final

from parlando.domain.transcript import bare
from transcriber.engines.base import Word

UNCOMMITTED_WORDS: Final = 2  # words at the end of a hypothesis that are never committed
MIN_PROBABILITY: Final = 0.95  # of a word in both hypotheses, where the engine gives probabilities

Words = tuple[Word, ...]


def _same(a: Word, b: Word) -> bool:
    return bare(a.text) == bare(b.text)


def _is_probable(word: Word) -> bool:
    return word.probability is None or word.probability >= MIN_PROBABILITY


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
    """The committed words of one segment, and the tail of its last hypothesis."""

    def __init__(self, committed: Words = (), tail: Words = ()) -> None:
        self.committed = committed
        self.tail = tail

    def insert(self, words: Words, *, hold: bool = False) -> None:
        """Add a hypothesis of the whole segment so far.

        Commits the words that it has in common with the previous hypothesis and that are probable in both,
        except its newest words; commits nothing if `hold`. The rule is strict because committed words can't
        be corrected by the final.
        """
        tail = tail_behind(self.committed, words)
        agreed = 0
        if not hold:
            for old, new in zip(self.tail, tail[:-UNCOMMITTED_WORDS], strict=False):
                if not (_same(old, new) and _is_probable(old) and _is_probable(new)):
                    break
                agreed += 1
        self.committed += tail[:agreed]
        self.tail = tail[agreed:]

    def settle(self, words: Words) -> Words:
        """The final words: the committed ones, then those that follow them in the last hypothesis."""
        return self.committed + tail_behind(self.committed, words)
