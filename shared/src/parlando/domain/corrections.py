"""Corrections: what a session's owner wrote in place of recognised text, which is kept beside it."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from parlando.domain.transcript import FinalSegment, TimedWord

CORRECTION: Final = "correction"
"""Kind of the annotation: `segment`, `text` (None if the correction was taken away), `original`."""


def latest(notes: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Segment → its correction, of the data of corrections in their order."""
    found: dict[int, str] = {}
    for note in notes:
        if note["text"] is None:
            found.pop(note["segment"], None)
        else:
            found[note["segment"]] = note["text"]
    return found


def corrected(segments: Iterable[FinalSegment], texts: Mapping[int, str]) -> list[FinalSegment]:
    """The segments with their corrections; `original` is what was recognised."""
    return [
        segment.model_copy(
            update={
                "text": texts[segment.segment],
                "original": segment.text,
                "words": retimed(segment.words, texts[segment.segment]),
            }
        )
        if segment.segment in texts
        else segment
        for segment in segments
    ]


def retimed(words: Sequence[TimedWord], text: str) -> tuple[TimedWord, ...]:
    """The words of `text` with times: recognised words keep theirs, the others share the time between."""
    if not words:
        return ()
    spoken = text.split()
    found: list[TimedWord] = []
    matcher = SequenceMatcher(a=[each.word.strip() for each in words], b=spoken, autojunk=False)
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind == "equal":
            found += words[first:last]
            continue
        start = words[first].start if first < len(words) else words[-1].end
        if first == last and first:  # inserted: between the word before and the one behind
            start = words[first - 1].end
        until = words[last - 1].end if last > first else words[min(first, len(words) - 1)].start
        step = max(0.0, until - start) / max(1, end - begin)
        like = words[min(first, len(words) - 1)]
        found += [
            like.model_copy(
                update={
                    "word": word,
                    "start": round(start + step * place, 3),
                    "end": round(start + step * (place + 1), 3),
                }
            )
            for place, word in enumerate(spoken[begin:end])
        ]
    return tuple(found)
