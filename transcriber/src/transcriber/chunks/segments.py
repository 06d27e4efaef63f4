"""From what an engine heard of a chunk to segments: pieces to read, as subtitles want them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.transcript import FinalSegment, TimedWord, join
from parlando.store.chunk_claims import ChunkSpec
from transcriber.engines.base import Hypothesis, Word

APART_S: Final = 0.4  # silence between two utterances
PAUSE_S: Final = 1.0  # silence that ends a segment, wherever it is in the sentence
SENTENCE_S: Final = 1.0  # a segment ends with its sentence, if it's longer than this …
CLAUSE_S: Final = 6.0  # … with a comma, if it's longer than this …
LONGEST_S: Final = 10.0  # … and with any word, if it's longer than this
SNAP_S: Final = 0.6  # by how much a word's time may miss the edge of the utterance that it begins or ends
_SENTENCE_ENDS: Final = (".", "?", "!", "…", "。", "？", "！")
_CLAUSE_ENDS: Final = (",", ";", ":", "、", "，")


@dataclass(frozen=True, slots=True)
class _Timed:
    """A word with its place in the file, in seconds."""

    word: Word
    start: float
    end: float


def segments(work: ChunkSpec, hypothesis: Hypothesis, *, words: bool) -> list[FinalSegment]:
    """What was heard, in sentences, or parts of long ones; with their words if `words`.

    Where the voice detector heard speech begin and end counts for more than the engine's word times, which
    may miss by a third of a second. Without word times it's all one segment. Times rise.
    """
    if not hypothesis.words:
        return []
    found = []
    for group in _groups(_placed(work, hypothesis.words)):
        texts = [timed.word.text for timed in group]
        sure = [timed.word.probability for timed in group if timed.word.probability is not None]
        found.append(
            FinalSegment(
                segment=0,
                start=round(group[0].start, 3),
                end=round(group[-1].end, 3),
                text=join(texts, hypothesis.language),
                confidence=round(sum(sure) / len(sure), 4) if sure else hypothesis.confidence,
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


def _placed(work: ChunkSpec, words: Sequence[Word]) -> list[_Timed]:
    """Words with times in the file, which rise: each in the utterance that it's nearest to."""
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
    """Where speech begins and ends, in seconds of the file; short silences are a part of it."""
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
    """The first and last word of each utterance moved to where it begins and ends."""
    found = list(placed)
    for number, (timed, where) in enumerate(zip(placed, at, strict=True)):
        first = number == 0 or at[number - 1] != where
        final = number + 1 == len(placed) or at[number + 1] != where
        begin, end = spoken[where]
        start = begin if first and timed.start - begin <= SNAP_S else timed.start
        stop = end if final and end - timed.end <= SNAP_S else timed.end
        found[number] = _Timed(timed.word, start, stop)
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
    if after.start == group[0].start and after.end == group[0].end:  # no word has a time of its own
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
