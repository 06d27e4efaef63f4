"""The checks of `parlando conform`: what must hold of every session, in every dialect. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Final

from parlando.cli.conform.heard import Heard

TAIL_WORDS: Final = 3
MISTAKES: Final = 0.2
"""Share of the clip's words that a recogniser may get wrong, before words count as lost or doubled."""
LATE_S: Final = 1.0
"""Seconds by which times may lie behind the end of the clip: padding, and rounding to frames."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table. `passed`: None if the dialect has nothing that could be checked."""

    check: str
    passed: bool | None
    detail: str


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def checked(heard: Heard, said: str, duration_s: float) -> list[Result]:
    """The results of all checks. `said`: the words of the clip, which lasts `duration_s`."""
    expected, received = words_of(said), words_of(" ".join(heard.texts))
    return [
        _once(expected, received),
        _tail(expected, received),
        _immutable(heard),
        _append_only(heard),
        _monotonic(heard, duration_s),
        _without_errors(heard),
        Result("clean close", heard.clean, heard.closed),
    ]


def _once(expected: Sequence[str], received: Sequence[str]) -> Result:
    name = "words once, in order"
    lost = added = replaced = 0
    for kind, i, j, k, m in SequenceMatcher(None, expected, received, autojunk=False).get_opcodes():
        if kind != "equal":
            common = min(j - i, m - k)
            replaced, lost, added = replaced + common, lost + j - i - common, added + m - k - common
    allowed = int(MISTAKES * len(expected))
    detail = f"{len(expected)} said: {lost} lost, {added} added, {replaced} misheard"
    return Result(name, lost + added + replaced <= allowed, f"{detail} (at most {allowed} together)")


def _tail(expected: Sequence[str], received: Sequence[str]) -> Result:
    said, got = expected[-TAIL_WORDS:], received[-TAIL_WORDS:]
    right = sum(a == b for a, b in zip(reversed(said), reversed(got), strict=False))
    return Result("tail delivered", right * 2 > len(said), f"said … {' '.join(said)}; got … {' '.join(got)}")


def _immutable(heard: Heard) -> Result:
    name = "finals never change"
    repeated = [key for key, utterance in heard.utterances.items() if len(utterance.finals) > 1]
    if repeated:
        return Result(name, False, f"more than one final for {', '.join(repeated[:3])}")
    finals = sum(bool(utterance.finals) for utterance in heard.utterances.values())
    return Result(name, finals > 0, f"{finals} finals")


def _append_only(heard: Heard) -> Result:
    name = "stable text only grows"
    if not heard.promises:
        return Result(name, None, "this dialect marks no text as stable before it is final")
    for key, utterance in heard.utterances.items():
        texts = [*utterance.stable, *utterance.finals[:1]]
        for before, after in pairwise(texts):
            if not after.startswith(before):
                return Result(name, False, f"{key}: {before[-40:]!r} became {after[-40:]!r}")
    updates = sum(len(utterance.stable) for utterance in heard.utterances.values())
    return Result(name, True, f"{updates} updates")


def _monotonic(heard: Heard, duration_s: float) -> Result:
    name = "times don't go back"
    spoken = [utterance for utterance in heard.utterances.values() if utterance.text]
    utterances = [(u.start, u.end) for u in spoken if u.start is not None and u.end is not None]
    words = [word for utterance in spoken for word in utterance.words]
    if not utterances and not words:
        return Result(name, None, "this dialect has no times")
    for spans in (utterances, words):
        last = 0.0
        for start, end in spans:
            if start < last or end < start:
                return Result(name, False, f"{start:.2f} to {end:.2f} s follows {last:.2f} s")
            last = start
    latest = max(end for _, end in [*utterances, *words])
    if latest > duration_s + LATE_S:
        return Result(name, False, f"{latest:.2f} s is behind the end of the clip, {duration_s:.2f} s")
    return Result(name, True, f"up to {latest:.2f} s of {duration_s:.2f} s")


def _without_errors(heard: Heard) -> Result:
    return Result("no errors", not heard.errors, "; ".join(heard.errors)[:200] or "none reported")
