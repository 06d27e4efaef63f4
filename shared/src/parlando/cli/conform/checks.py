"""The checks of `parlando conform`: what must hold of every session, in every dialect. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Final

from parlando.cli.conform.received import Received

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


def checked(received: Received, said: str, duration_s: float) -> list[Result]:
    """The results of all checks. `said`: the words of the clip, which lasts `duration_s`."""
    expected, words = words_of(said), words_of(" ".join(received.texts))
    return [
        _once(expected, words),
        _tail(expected, words),
        _immutable(received),
        _append_only(received),
        _monotonic(received, duration_s),
        _without_errors(received),
        Result("clean close", received.clean, received.closed),
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


def _immutable(received: Received) -> Result:
    name = "finals never change"
    repeated = [key for key, utterance in received.utterances.items() if len(utterance.finals) > 1]
    if repeated:
        return Result(name, False, f"more than one final for {', '.join(repeated[:3])}")
    finals = sum(bool(utterance.finals) for utterance in received.utterances.values())
    return Result(name, finals > 0, f"{finals} finals")


def _append_only(received: Received) -> Result:
    name = "stable text only grows"
    if not received.promises:
        return Result(name, None, "this dialect marks no text as stable before it is final")
    for key, utterance in received.utterances.items():
        texts = [*utterance.stable, *utterance.finals[:1]]
        for before, after in pairwise(texts):
            if not after.startswith(before):
                return Result(name, False, f"{key}: {before[-40:]!r} became {after[-40:]!r}")
    updates = sum(len(utterance.stable) for utterance in received.utterances.values())
    return Result(name, True, f"{updates} updates")


def _monotonic(received: Received, duration_s: float) -> Result:
    name = "times don't go back"
    spoken = [utterance for utterance in received.utterances.values() if utterance.text]
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


def _without_errors(received: Received) -> Result:
    return Result("no errors", not received.errors, "; ".join(received.errors)[:200] or "none reported")
