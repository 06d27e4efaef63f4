"""Divides the hypothesis of a chunk into segments of a length fit for subtitles. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.decode_options import written_in
from parlando.domain.transcript import FinalSegment, TimedWord, join
from parlando.domain.word_spans import with_lengths
from parlando.store.chunk_claims import ChunkSpec
from transcriber.engines.base import Hypothesis, Word

APART_S: Final = 0.4  # shortest silence between two utterances
PAUSE_S: Final = 1.0  # silence that ends a segment anywhere in a sentence
SENTENCE_S: Final = 1.0  # a segment longer than this ends at the end of a sentence …
CLAUSE_S: Final = 6.0  # … one longer than this at a comma …
LONGEST_S: Final = 10.0  # … and one longer than this at any word
SNAP_S: Final = 0.6  # largest correction of a word's time to the start or end of its utterance
_SENTENCE_ENDS: Final = (".", "?", "!", "…", "。", "？", "！")
_CLAUSE_ENDS: Final = (",", ";", ":", "、", "，")


@dataclass(frozen=True, slots=True)
class _Timed:
    """A word with its place in the file, in seconds."""

    word: Word
    start: float
    end: float


def segments(
    work: ChunkSpec, hypothesis: Hypothesis, *, words: bool, task: str = "transcribe"
) -> list[FinalSegment]:
    """The hypothesis, made for `task`, as sentences, or parts of long sentences; with word times if `words`.

    The start and end of speech found by the voice detector correct the engine's word times, whose error may
    be a third of a second. Without word times the result is one segment. Times increase.
    """
    if not hypothesis.words:
        return []
    found = []
    for group in _groups(_placed(work, hypothesis.words)):
        texts = [timed.word.text for timed in group]
        probabilities = [timed.word.probability for timed in group if timed.word.probability is not None]
        mean = round(sum(probabilities) / len(probabilities), 4) if probabilities else None
        found.append(
            FinalSegment(
                segment=0,
                start=round(group[0].start, 3),
                end=round(group[-1].end, 3),
                text=join(texts, written_in(hypothesis.language, task)),
                confidence=hypothesis.confidence if mean is None else mean,
                language=hypothesis.language,
                words=tuple(
                    TimedWord(
                        word=timed.word.text,
                        start=round(timed.start, 3),
                        end=round(timed.end, 3),
                        confidence=timed.word.probability,
                    )
                    for timed in (group if words else ())
                ),
                speaker=work.speaker,
            )
        )
    return found


def language_segment(work: ChunkSpec, hypothesis: Hypothesis) -> list[FinalSegment]:
    """The language that was detected in the chunk, as a segment without text; its confidence is that of the
    language. Empty if the engine found none.
    """
    if hypothesis.language is None:
        return []
    return [
        FinalSegment(
            segment=0,
            start=round(work.speech[0][0] / SAMPLE_RATE, 3),
            end=round(work.speech[-1][1] / SAMPLE_RATE, 3),
            text="",
            confidence=hypothesis.language_probability,
            language=hypothesis.language,
        )
    ]


def _placed(work: ChunkSpec, words: Sequence[Word]) -> list[_Timed]:
    """Words with increasing times in the file: each is put into the nearest utterance."""
    spoken = _utterances(work)
    origin, last = work.start / SAMPLE_RATE, spoken[0][0]
    placed: list[_Timed] = []
    at: list[int] = []
    for word in words:
        if word.start is None or word.end is None:
            return [_Timed(word, spoken[0][0], spoken[-1][1]) for word in words]
        middle = origin + (word.start + word.end) / 2
        nearest = min(range(len(spoken)), key=lambda n: max(spoken[n][0] - middle, middle - spoken[n][1]))
        at.append(max(nearest, at[-1] if at else 0))
        begin, end = spoken[at[-1]]
        start = min(max(origin + word.start, begin, last), end)
        last = min(max(origin + word.end, start), end)
        placed.append(_Timed(word, start, last))
    return _snapped(placed, at, spoken)


def _utterances(work: ChunkSpec) -> list[tuple[float, float]]:
    """(start, end) of each utterance in seconds of the file; short silences don't end one."""
    found: list[tuple[float, float]] = []
    for start, end in work.speech:
        if found and start / SAMPLE_RATE - found[-1][1] < APART_S:
            found[-1] = (found[-1][0], end / SAMPLE_RATE)
        else:
            found.append((start / SAMPLE_RATE, end / SAMPLE_RATE))
    return found


def _snapped(
    placed: Sequence[_Timed], at: Sequence[int], spoken: Sequence[tuple[float, float]]
) -> list[_Timed]:
    """`placed`, with the first and last word of each utterance extended to the utterance's start and end."""
    found = list(placed)
    for number, (timed, where) in enumerate(zip(placed, at, strict=True)):
        first = number == 0 or at[number - 1] != where
        final = number + 1 == len(placed) or at[number + 1] != where
        begin, end = spoken[where]
        start = begin if first and timed.start - begin <= SNAP_S else timed.start
        stop = end if final and end - timed.end <= SNAP_S else timed.end
        found[number] = _Timed(timed.word, start, stop)
    return _lengthened(found, at, spoken)


def _lengthened(
    timed: Sequence[_Timed], at: Sequence[int], spoken: Sequence[tuple[float, float]]
) -> list[_Timed]:
    """`timed`, where each word of an utterance has a length. `at`: the number of each word's utterance."""
    found: list[_Timed] = []
    for where, numbers in groupby(range(len(timed)), key=lambda number: at[number]):
        words = [timed[number] for number in numbers]
        spans = with_lengths([(word.start, word.end) for word in words], *spoken[where])
        found += [_Timed(word.word, start, end) for word, (start, end) in zip(words, spans, strict=True)]
    return found


def _groups(words: Sequence[_Timed]) -> list[list[_Timed]]:
    groups: list[list[_Timed]] = [[]]
    for timed in words:
        group = groups[-1]
        if group and _ends_before(group, timed):
            groups.append([timed])
        else:
            group.append(timed)
    return groups


def _ends_before(group: Sequence[_Timed], after: _Timed) -> bool:
    last, length = group[-1], group[-1].end - group[0].start
    if after.start == group[0].start and after.end == group[0].end:  # the words have no times
        return False
    text = last.word.text
    silence = after.start - last.end
    return (
        silence >= PAUSE_S
        or (silence >= APART_S and text.endswith(_CLAUSE_ENDS + _SENTENCE_ENDS))
        or (text.endswith(_SENTENCE_ENDS) and length >= SENTENCE_S)
        or (text.endswith(_CLAUSE_ENDS) and length >= CLAUSE_S)
        or length >= LONGEST_S
    )
