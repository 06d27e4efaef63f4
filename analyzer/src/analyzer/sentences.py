"""Sentences of a text, and pieces of long texts. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from analyzer.document import Passage

_SHORT: Final = """
mr mrs ms dr prof st jr sr vs etc inc ltd co corp dept approx no fig vol ca cf e.g i.e a.m p.m
"""
_ABBREVIATIONS: Final = frozenset(_SHORT.split())
_END: Final = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”]*")
_LAST_WORD: Final = re.compile(r"[\w.'’]*$")
NEIGHBOURHOOD: Final = 20  # characters around a full stop that tell whether it ends a sentence
_OPENING: Final = "\"'“‘(["


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a passage: a sentence, or a part of a long text. `offset`: in the passage's characters."""

    passage: Passage
    text: str
    offset: int = 0

    @property
    def start(self) -> float:
        """Second at which it begins, if the characters of the passage are spoken at an even rate."""
        passage = self.passage
        share = self.offset / len(passage.text)
        return round(passage.start + share * (passage.end - passage.start), 2)


def sentences(passages: Iterable[Passage]) -> Iterator[Piece]:
    """The sentences of all passages. A passage without punctuation is one sentence."""
    for passage in passages:
        for start, end in sentence_bounds(passage.text):
            yield Piece(passage, passage.text[start:end], start)


def sentence_bounds(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, without the spaces around it."""
    start = 0
    for match in _END.finditer(text):
        if _ends_sentence(text, match):
            yield from _stripped(text, start, match.end())
            start = match.end()
    yield from _stripped(text, start, len(text))


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    rest = text[match.end() : match.end() + NEIGHBOURHOOD].lstrip()
    following = rest.lstrip(_OPENING)[:1]
    if match.group() != ".":
        return not following.islower() or match.group()[0] in "?!"
    if following.islower():
        return False
    found = _LAST_WORD.search(text[max(0, match.start() - NEIGHBOURHOOD) : match.start()])
    word = found.group() if found else ""
    if word.casefold() in ("a.m", "p.m"):
        return True
    return word.casefold() not in _ABBREVIATIONS and not (len(word) == 1 and word.isupper() and word != "I")


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    part = text[start:end]
    begin = start + len(part) - len(part.lstrip())
    if part.strip():
        yield begin, begin + len(part.strip())


def pieces(passages: Iterable[Passage], longest: int) -> Iterator[Piece]:
    """The passages, each in parts of at most `longest` characters: of whole sentences if possible."""
    for passage in passages:
        if len(passage.text) <= longest:
            yield Piece(passage, passage.text)
            continue
        start = end = 0
        for bound in _bounds(passage.text, longest):
            if bound - start > longest:
                yield Piece(passage, passage.text[start:end], start)
                start = end
            end = bound
        yield Piece(passage, passage.text[start:end], start)


def _bounds(text: str, longest: int) -> Iterator[int]:
    """Where the text may be cut, so that no two neighbours are more than `longest` apart."""
    last = 0
    for _, end in sentence_bounds(text):
        while end - last > longest:
            space = text.rfind(" ", last + 1, last + longest)
            last = last + longest if space < 0 else space
            yield last
        last = end
        yield last


def batches(parts: Iterable[Piece], most: int) -> Iterator[list[Piece]]:
    """Lists of successive parts that have at most `most` characters together, or of one longer part."""
    batch: list[Piece] = []
    size = 0
    for part in parts:
        if batch and size + len(part.text) > most:
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += len(part.text)
    if batch:
        yield batch
