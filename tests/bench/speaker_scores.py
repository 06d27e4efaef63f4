"""Scores of speaker labels: the diarization error rate by pyannote.metrics, and when speakers are named."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from bench.speaker_runs import Label, Labels
from support.dialogues import Dialogue

COLLAR_S = 0.25  # not scored before and after each boundary of the reference
DRAWS = 2000  # of the bootstrap
MINE = 0.5  # share of a label's time in which a speaker must speak to be named by it


@dataclass(frozen=True)
class Errors:
    """Seconds: of the reference, missed, of false alarms, and with the wrong speaker."""

    total: float
    missed: float
    false: float
    confused: float

    @property
    def all(self) -> float:
        return self.missed + self.false + self.confused


@dataclass(frozen=True)
class Scores:
    """A recording's scores. `strict`: the final labels with half the collar. `found`: speakers, finally.

    `delays`: for each speaker (seconds until the first label that names him, seconds that he had spoken by
    then); None for one who is never named. `cost`: CPU seconds per second of audio.
    """

    first: Errors
    final: Errors
    offline: Errors
    strict: Errors
    speakers: int
    found: int
    found_offline: int
    delays: Sequence[tuple[float, float] | None]
    cost: float


def scores(talk: Dialogue, labels: Labels) -> Scores:
    """Compare labels with who speaks."""
    return Scores(
        errors(talk, labels.first),
        errors(talk, labels.final),
        errors(talk, labels.offline),
        errors(talk, labels.final, COLLAR_S / 2),
        talk.speakers,
        len({label.speaker for label in labels.final}),
        len({label.speaker for label in labels.offline}),
        delays(talk, labels),
        labels.cost / talk.seconds,
    )


def errors(talk: Dialogue, labels: Sequence[Label], collar: float = COLLAR_S) -> Errors:
    """`collar`: seconds on each side of a boundary (pyannote's is the sum of both)."""
    metric = DiarizationErrorRate(collar=2 * collar)
    whole = Timeline([Segment(0, talk.seconds)])
    parts = metric(reference(talk), annotation(labels), uem=whole, detailed=True)
    names = ("total", "missed detection", "false alarm", "confusion")
    return Errors(*(float(parts[name]) for name in names))


def reference(talk: Dialogue) -> Annotation:
    """Who speaks, as pyannote wants it."""
    return _annotation([(turn.start, turn.end, turn.speaker) for turn in talk.turns])


def annotation(labels: Sequence[Label]) -> Annotation:
    """The labels, as pyannote wants them."""
    return _annotation([(label.start, label.end, str(label.speaker)) for label in labels])


def _annotation(spans: Sequence[tuple[float, float, str]]) -> Annotation:
    found = Annotation()
    for number, (start, end, name) in enumerate(spans):
        if end > start:
            found[Segment(start, end), number] = name
    return found


def delays(talk: Dialogue, labels: Labels) -> list[tuple[float, float] | None]:
    """See `Scores`. A label's speaker is the one to whom the final labels map its number."""
    mapping = DiarizationErrorRate().optimal_mapping(reference(talk), annotation(labels.final))
    found: list[tuple[float, float] | None] = []
    for speaker in dict.fromkeys(turn.speaker for turn in talk.turns):
        own = [turn for turn in talk.turns if turn.speaker == speaker]
        naming = [
            label.at
            for label in labels.first
            if mapping.get(str(label.speaker)) == speaker
            and _spoken(own, label.start, label.end) >= MINE * (label.end - label.start)
        ]
        at = min(naming, default=None)
        found.append(None if at is None else (at - own[0].start, _spoken(own, 0, at)))
    return found


def _spoken(turns: Sequence, start: float, end: float) -> float:
    return sum(max(0.0, min(turn.end, end) - max(turn.start, start)) for turn in turns)


def rate(found: Sequence[Errors]) -> float:
    """Errors per second of the reference, in per cent."""
    return 100 * sum(each.all for each in found) / sum(each.total for each in found)


def interval(found: Sequence[Errors]) -> tuple[float, float]:
    """The 95 % interval of the rate: bootstrap over recordings."""
    wrong = np.array([each.all for each in found])
    total = np.array([each.total for each in found])
    drawn = np.random.default_rng(0).integers(len(found), size=(DRAWS, len(found)))
    rates = 100 * wrong[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)
