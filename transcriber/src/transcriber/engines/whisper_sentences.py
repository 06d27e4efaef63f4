"""Whether a sentence goes on from the segment before: which way of writing it is more probable. Pure.

Whisper decodes a segment by itself, and ends its text with a full stop. The forced texts of both segments,
with the audio of both, tell whether the full stop and the capital behind it are right
(docs/decisions/0020-sentences.md).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from transcriber.engines.base import Word

GOES_ON_BELOW: Final = {False: 0.1, True: 0.55}
"""Probability below which no sentence ends before a segment, in a partial and in a final."""
SURE_END: Final = 0.8  # from this probability on, one does
LEAST_PROBABILITY: Final = 1e-9  # of a token


@dataclass(frozen=True, slots=True)
class Ways:
    """The tokens of the text before and of a segment: with a full stop between them, then as one sentence.

    `first`: the segment's first word in the sentence.
    """

    texts: tuple[list[int], ...]
    first: Word

    def ends(self, probabilities: Sequence[Sequence[float]]) -> float:
        """The probability that a sentence ends, from those of each text's tokens."""
        ended, *ongoing = (
            sum(math.log(max(each, LEAST_PROBABILITY)) for each in text) for text in probabilities
        )
        most = max(ended, *ongoing)
        weight = math.exp(ended - most)
        return weight / (weight + sum(math.exp(each - most) for each in ongoing))


def ways_of(before: Sequence[Word], words: Sequence[Word], encode: Callable[[str], list[int]]) -> Ways | None:
    """The ways of writing a segment's `words` behind the words `before`.

    `encode`: the tokens of a text. None if no full stop is before them, or the first word can't be written
    with a small letter: "I", "USA".
    """
    text = words[0].text if words else ""
    small = text[:1].lower() + text[1:]
    [stop], [comma] = encode("."), encode(",")
    told = [token for word in before for token in word.tokens]
    if not told or told[-1] != stop or small == text or text[1:2].isupper() or _is_pronoun(text):
        return None
    rest = [token for word in words[1:] for token in word.tokens]
    first = tuple(encode(" " + small))
    apart = [*told, *words[0].tokens, *rest]
    joined = [*told[:-1], *first, *rest]
    paused = [*told[:-1], comma, *first, *rest]
    return Ways((apart, joined, paused), Word(small, tokens=first))


def _is_pronoun(text: str) -> bool:
    """Whether it is "I", also as "I'm" and "I,"."""
    return text[:1] == "I" and not text[1:2].isalpha()
