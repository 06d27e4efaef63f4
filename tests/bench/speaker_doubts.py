"""What withholding unclear labels, and marking overlapped speech, would give: python -m bench.speaker_doubts

Dialogues of people on whom no threshold was chosen, as in `bench.speakers`. *Short*: utterances of at most
0.8, 1.2 and 1.8 s; each is withheld if its voice is unclear (`speaker_margins`). *Overlap*: a second voice is
added to every tenth window; a window is marked if its voice is unclear and far from all speakers.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from bench.results import Table
from bench.speaker_margins import UNCLEAR, margins
from bench.speaker_runs import Spoken, utterances
from bench.speaker_scores import DRAWS
from bench.speakers import below, collected, dealt, drawn
from parlando import vad
from parlando.domain.audio import Float32
from support.dialogues import Dialogue, behind, in_noisy_room, rms, telephone
from support.speech import RATE
from transcriber.speakers.clustering import centroids
from transcriber.speakers.embedding import voice_model
from transcriber.speakers.recording import speakers_of

SHORT_S: Final = (0.8, 1.2, 1.8)
EVERY: Final = 10
LEVELS_DB: Final = (0.0, 6.0)
"""How much quieter the second voice is."""


@dataclass(frozen=True)
class Doubt:
    """A window of a dialogue: seconds of its utterance, its margin, and whether its label is right."""

    dialogue: int
    length: float
    margin: float
    right: bool


@dataclass(frozen=True)
class Mixture:
    """A window with one voice, or with two: its margin, and the cosine to the nearest speaker."""

    dialogue: int
    margin: float
    cosine: float
    two: bool
    level_db: float


def measured(pair: tuple[int, Dialogue]) -> tuple[list[Doubt], list[Mixture]]:
    """The windows of a dialogue."""
    number, talk = pair
    spoken = utterances(talk.pcm, voice_model(), vad.load("auto"))
    vectors = np.concatenate([each.vectors for each in spoken])
    seconds = np.array([w.seconds for each in spoken for w in each.windows], np.float32)
    groups = np.concatenate([np.full(len(each.windows), n) for n, each in enumerate(spoken)])
    labels = speakers_of(vectors, seconds, groups)
    unclear = margins(vectors, seconds, labels)
    truth = _truth(talk, spoken)
    owner = {
        label: _most([truth[n] for n in np.flatnonzero(labels == label)]) for label in set(labels.tolist())
    }
    lengths = [each.windows[-1].end - each.windows[0].start for each in spoken for _ in each.windows]
    doubts = [
        Doubt(number, length, float(margin), owner[label] == who)
        for length, margin, label, who in zip(lengths, unclear, labels.tolist(), truth, strict=True)
        if who
    ]
    return doubts, list(_mixtures(number, talk, spoken, centroids(vectors, seconds, labels), truth))


def _truth(talk: Dialogue, spoken: Sequence[Spoken]) -> list[str]:
    """Who speaks in the middle of each window; "" for nobody."""
    middles = [window.centre for each in spoken for window in each.windows]
    return [next((t.speaker for t in talk.turns if t.start <= at <= t.end), "") for at in middles]


def _most(names: Sequence[str]) -> str:
    return max(sorted(set(names)), key=names.count)


def _mixtures(
    number: int, talk: Dialogue, spoken: Sequence[Spoken], voices: Float32, truth: Sequence[str]
) -> Iterator[Mixture]:
    """Windows of 1.5 s as they are, and every tenth with another speaker's window added."""
    windows = [window for each in spoken for window in each.windows]
    clips = [talk.pcm[round(w.start * RATE) : round(w.end * RATE)] for w in windows]
    full = [n for n, clip in enumerate(clips) if len(clip) >= 1.4 * RATE and truth[n]]
    random = np.random.default_rng(number)
    vectors = np.concatenate([each.vectors for each in spoken])
    for n in full:
        yield _mixture(number, vectors[n], voices, two=False, level_db=0.0)
    for n in full[::EVERY]:
        others = [m for m in full if truth[m] != truth[n]]
        if not others:
            continue
        other = clips[int(random.choice(others))]
        length = min(len(other), len(clips[n]))
        for level in LEVELS_DB:
            added = other[:length] * (rms(clips[n]) / rms(other) * 10 ** (-level / 20))
            [vector] = voice_model().embed([(clips[n][:length] + added).astype(np.float32)])
            yield _mixture(number, vector, voices, two=True, level_db=level)


def _mixture(number: int, vector: Float32, voices: Float32, *, two: bool, level_db: float) -> Mixture:
    cosines = np.sort(voices @ vector)[::-1]
    margin = float(cosines[0] - cosines[1]) if len(cosines) > 1 else 2.0
    return Mixture(number, margin, float(cosines[0]), two, level_db)


def interval(wrong: dict[int, int], total: dict[int, int]) -> str:
    """A share in per cent, with its 95 % interval by bootstrap over dialogues."""
    keys = sorted(total)
    parts, wholes = np.array([wrong.get(k, 0) for k in keys]), np.array([total[k] for k in keys])
    if not wholes.sum():
        return "-"
    picked = np.random.default_rng(0).integers(len(keys), size=(DRAWS, len(keys)))
    shares = 100 * parts[picked].sum(axis=1) / np.maximum(wholes[picked].sum(axis=1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return f"{100 * parts.sum() / wholes.sum():.1f} ({low:.1f}–{high:.1f})"


def _share(part: Sequence[Doubt], whole: Sequence[Doubt]) -> str:
    return interval(_counts(part), _counts(whole))


def _counts(doubts: Sequence[Doubt]) -> dict[int, int]:
    found: dict[int, int] = {}
    for each in doubts:
        found[each.dialogue] = found.get(each.dialogue, 0) + 1
    return found


def short_rows(channel: str, doubts: Sequence[Doubt]) -> Iterator[tuple[str, ...]]:
    """How many labels of short utterances are wrong, and which of them are withheld."""
    for limit in SHORT_S:
        own = [each for each in doubts if each.length <= limit]
        wrong, right = [d for d in own if not d.right], [d for d in own if d.right]
        caught, lost = ([d for d in part if d.margin < UNCLEAR] for part in (wrong, right))
        yield (
            f"{channel}: at most {limit} s",
            str(len(own)),
            _share(wrong, own),
            f"{len(caught)} of {len(wrong)}",
            f"{len(lost)} of {len(right)}",
            _share(lost, right),
        )


def overlap_rows(channel: str, mixtures: Sequence[Mixture]) -> Iterator[tuple[str, ...]]:
    """The precision and recall of a mark, with a tenth of the speech overlapped."""
    single = [each for each in mixtures if not each.two]
    for level in LEVELS_DB:
        double = [each for each in mixtures if each.two and each.level_db == level]
        for margin, cosine in ((0.2, 1.0), (0.2, 0.5), (0.1, 0.5), (0.1, 0.4), (0.05, 0.4)):
            hits, false = (
                sum(each.margin < margin and each.cosine < cosine for each in part)
                for part in (double, single)
            )
            precision = f"{hits / (hits + false):.2f}" if hits + false else "-"
            name = f"{channel}: second voice {level:.0f} dB lower, margin < {margin}, cosine < {cosine}"
            yield name, str(len(double)), f"{hits / len(double):.2f}", precision


def main() -> None:
    """Measure, and publish the tables."""
    talks = drawn(collected(everybody=False))
    if folder := os.environ.get("SPEAKER_COLLECTION"):
        talks += dealt(below(Path(folder)))
    short = Table("speaker_doubts", "Short utterances whose voice is unclear", ())
    short.columns = (
        "utterances",
        "windows",
        "wrong, %",
        "wrong, withheld",
        "right, withheld",
        "of the right, %",
    )
    overlap = Table("speaker_overlap", "Overlapped speech", ("windows", "overlapped", "recall", "precision"))
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as processes:
        for name, channel in {"clean": None, "telephone": telephone, "noisy room": in_noisy_room}.items():
            heard = [behind(channel, talk, n) if channel else talk for n, talk in enumerate(talks)]
            found = list(processes.map(measured, enumerate(heard)))
            short.rows += short_rows(name, [each for doubts, _ in found for each in doubts])
            overlap.rows += overlap_rows(name, [each for _, mixtures in found for each in mixtures])
            print(*short.rows, *overlap.rows, sep="\n", flush=True)
    short.publish()
    overlap.publish()


if __name__ == "__main__":
    main()
