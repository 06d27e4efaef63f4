"""The words of Whisper's tokens, with their times and probabilities. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from parlando.domain.transcript import UNSPACED
from parlando.domain.word_spans import with_lengths
from transcriber.engines.base import Word

POSITION_S: Final = 0.02  # seconds of one position of the encoder
DELAYS_S: Final = {"tiny.en": 0.11, "base": -0.05}
"""How much later than spoken the words of a size begin and end by its cross-attention: the median against a
forced alignment of 527 words (docs/performance.md). Other sizes were not measured."""

Split = Callable[[list[int]], tuple[list[str], list[list[int]]]]
"""Splits tokens into the texts and the tokens of words, punctuation apart."""


def word_delay_s(model: str) -> float:
    """The seconds to subtract from the word times of a model, such as "whisper-tiny.en"."""
    return DELAYS_S.get(model.removeprefix("whisper-"), 0.0)


def words_of_tokens(split: Split, tokens: list[int], language: str | None) -> tuple[Word, ...]:
    """The words of `tokens`, punctuation included; characters in a language without spaces."""
    words: list[Word] = []
    for text, ids in zip(*split(tokens), strict=True):
        if words and language not in UNSPACED and not text.startswith(" "):
            last = words[-1]
            words[-1] = Word(last.text + text, tokens=(*last.tokens, *ids))
        elif text.strip():
            words.append(Word(text.strip(), tokens=tuple(ids)))
    return tuple(words)


def with_probabilities(words: Sequence[Word], probabilities: Sequence[float]) -> tuple[Word, ...]:
    """`words` with the mean probability of their tokens. `probabilities`: of all tokens, in order."""
    rated, at = [], 0
    for word in words:
        after = at + len(word.tokens)
        rated.append(replace(word, probability=round(float(np.mean(probabilities[at:after])), 4)))
        at = after
    return tuple(rated)


def with_times(
    words: Sequence[Word], alignment: Sequence[tuple[int, int]], seconds: float, *, delay_s: float = 0.0
) -> tuple[Word, ...]:
    """`words` with the times of an alignment: pairs of token number and encoder position, increasing.

    A word lasts until the next one begins; the last one until the end of the window of `seconds`.
    `delay_s`: see `word_delay_s`.
    """
    first: dict[int, float] = {}
    for token, position in alignment:
        first.setdefault(token, min(position * POSITION_S - delay_s, seconds))
    edges = [*np.cumsum([0, *(len(word.tokens) for word in words)])]
    spans = [(first[begin], first.get(end, seconds)) for begin, end in pairwise(edges)]
    return tuple(
        replace(word, start=start, end=end)
        for word, (start, end) in zip(words, with_lengths(spans, 0.0, seconds), strict=True)
    )
