"""Sentence breaks in which a text differs from a reference, after an alignment of their words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final

from parlando.domain.transcript import bare

_ENDS: Final = (".", "?", "!", "…")
_CLOSING: Final = "\"'”’)]"


@dataclass
class Breaks:
    """How a text's sentence breaks differ from those of a reference.

    `added`: the text's breaks where the reference has none, `missing`: those of the reference that the text
    doesn't have, each as the words around it. `stray`: ends of sentences in the text that a small letter
    follows, where the reference has no break. `bare`: capitals in the text without an end of a sentence
    before them, where the reference has a break. `shared`: breaks of both.
    """

    added: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    shared: int = 0

    def __iadd__(self, other: "Breaks") -> "Breaks":
        self.added += other.added
        self.missing += other.missing
        self.stray += other.stray
        self.bare += other.bare
        self.shared += other.shared
        return self


def ends_sentence(word: str) -> bool:
    """Whether the word has a full stop, a question or an exclamation mark at its end."""
    return word.rstrip(_CLOSING).endswith(_ENDS)


def is_capital(word: str) -> bool:
    """Whether the first letter of the word is a capital."""
    return next((letter.isupper() for letter in word if letter.isalpha()), False)


def compare(text: str, reference: str) -> Breaks:
    """The differences between the sentence breaks of two texts of the same speech.

    Breaks are compared only where the words on both sides of the place are the same in both texts.
    """
    heard, told = text.split(), reference.split()
    found = Breaks()
    for place, other in _pairs(heard, told):
        before, after = heard[place], heard[place + 1]
        ours = ends_sentence(before) and is_capital(after)
        theirs = ends_sentence(told[other]) and is_capital(told[other + 1])
        around = " ".join(heard[max(0, place - 2) : place + 3])
        found.shared += ours and theirs
        if ours and not theirs:
            found.added.append(around)
        elif theirs and not ours:
            found.missing.append(around)
            if is_capital(after):
                found.bare.append(around)
        elif ends_sentence(before) and not ours and not theirs:
            found.stray.append(around)
    return found


def _pairs(heard: Sequence[str], told: Sequence[str]) -> list[tuple[int, int]]:
    """The places (in each text) of all words that are followed by the same word in both."""
    matcher = SequenceMatcher(None, [bare(w) for w in heard], [bare(w) for w in told], autojunk=False)
    same = [(block.a + n, block.b + n) for block in matcher.get_matching_blocks() for n in range(block.size)]
    both = set(same)
    return [(a, b) for a, b in same if (a + 1, b + 1) in both]
