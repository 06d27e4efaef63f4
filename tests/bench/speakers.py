"""Speaker labels: error rates, speakers found, delays and cost: python -m bench.speakers [--all]

Dialogues are made of recordings of single speakers: those of `support.speech` (`SPEECH_COLLECTION`) of
speakers that no threshold was chosen on, and those below the folder that `SPEAKER_COLLECTION` names, whose
names begin with the speaker (`<speaker>-….flac`, as LibriSpeech's), in groups of 2, 3, 4 and 6. Real
meetings: the .wav files with .rttm files below `MEETING_COLLECTION`, else the collection's `diarization`.
`--all` also has the speakers on which thresholds were chosen.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from bench.results import Table
from bench.speaker_runs import labels, utterances
from bench.speaker_scores import Errors, Scores, interval, rate, scores
from parlando import vad
from parlando.domain.audio import to_float
from support.dialogues import (
    Channel,
    Dialogue,
    Turn,
    Voices,
    among,
    behind,
    dialogue,
    half_on_the_telephone,
    in_noisy_room,
    stretches,
    telephone,
)
from support.speech import COLLECTION, RATE, load, rows
from transcriber.speakers.embedding import voice_model

SIZES: Final = (2, 3, 4, 6)
TAKES: Final = 3  # dialogues of each size made from the collection
CATEGORIES: Final = ("a_english_read", "b_long", "e_containers")
CHOSEN_ON: Final = ("libri-1688", "libri-2609", "libri-3080", "libri-533")
"""Speakers of the collection on which thresholds were chosen."""
ENOUGH_S: Final = 10.0  # of a speaker's speech
LONGEST_S: Final = 110.0  # of a dialogue
BARS: Final = {"clean": (3.0, 1.0), "noisy room": (4.0, 3.0), "telephone": (10.0, 9.0)}
"""Error rates, in per cent: live as first sent, and finally."""


def collected(*, everybody: bool) -> Voices:
    """The speakers of the collection with enough speech."""
    found: dict[str, list] = defaultdict(list)
    known: set[str] = set()
    for category in CATEGORIES:
        for path, row in rows(category):
            speaker, name = row.get("speaker") or "", Path(row["file"]).name.split(".")[0]
            copied = name in known or bool(row.get("derived"))  # one recording in several formats
            if not speaker or "+" in speaker or copied or (speaker in CHOSEN_ON and not everybody):
                continue
            known.add(name)
            found[speaker] += stretches(load(path))
    return _enough(found)


def below(folder: Path) -> Voices:
    """The speakers of the files below a folder, named `<speaker>-…`."""
    found: dict[str, list] = defaultdict(list)
    for path in sorted(folder.rglob("*.flac")):
        found[path.name.split("-")[0]] += stretches(load(path))
    return _enough(found)


def _enough(found: Voices) -> Voices:
    return {who: said for who, said in sorted(found.items()) if sum(map(len, said)) >= ENOUGH_S * RATE}


def drawn(voices: Voices) -> list[Dialogue]:
    """Dialogues of speakers of the collection; one speaker is in several of them."""
    found = []
    for size in SIZES:
        for take in range(TAKES if size <= len(voices) else 0):
            seed = 1000 * size + take
            who = np.random.default_rng(seed).permutation(sorted(voices))[:size]
            found.append(dialogue(f"{size} speakers", {name: voices[name] for name in who}, LONGEST_S, seed))
    return found


def dealt(voices: Voices) -> list[Dialogue]:
    """Dialogues of groups of speakers; each speaker is in one of them."""
    left, found = list(voices), []
    while len(left) >= (size := SIZES[len(found) % len(SIZES)]):
        group, left = left[:size], left[size:]
        name = f"{size} speakers"
        found.append(dialogue(name, {who: voices[who] for who in group}, LONGEST_S, len(found)))
    return found


def meetings() -> list[Dialogue]:
    """Real conversations with times of their speakers."""
    folder = Path(os.environ.get("MEETING_COLLECTION") or COLLECTION / "diarization")
    turns: dict[str, list[Turn]] = defaultdict(list)
    for path in sorted(folder.rglob("*.rttm")):
        for line in path.read_text().splitlines():
            _, name, _, start, length, _, _, speaker, *_ = line.split()
            turns[name].append(Turn(float(start), float(start) + float(length), speaker))
    found = []
    for path in sorted(folder.rglob("*.wav")):
        name = path.stem if path.stem in turns else path.stem.removeprefix("pyannote_")
        if name in turns:
            pcm, rate_hz = soundfile.read(path, dtype="float32")
            assert rate_hz == RATE, f"{path} must have 16 kHz"
            found.append(Dialogue(name, pcm, turns[name]))
    return found


def channels(noise: Sequence) -> dict[str, Callable[[Dialogue, int], Dialogue]]:
    """The channels by name."""

    def through(channel: Channel) -> Callable[[Dialogue, int], Dialogue]:
        return lambda talk, seed: behind(channel, talk, seed)

    return {
        "clean": lambda talk, _: talk,
        "noisy room": through(in_noisy_room),
        "babble": through(among(noise)),
        "telephone": through(telephone),
        "half on the telephone": lambda talk, _: half_on_the_telephone(talk),
    }


def measured(talks: Sequence[Dialogue]) -> list[Scores]:
    """The scores of dialogues."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        return list(processes.map(_measured, talks))


def _measured(talk: Dialogue) -> Scores:
    return scores(talk, labels(utterances(talk.pcm, voice_model(), vad.load("auto"))))


def row(name: str, found: Sequence[Scores]) -> tuple[str, ...]:
    """A row of the table."""

    def cell(parts: Sequence[Errors]) -> str:
        low, high = interval(parts)
        return f"{rate(parts):.1f} ({low:.1f}–{high:.1f})"

    final = [each.final for each in found]
    confused = 100 * sum(each.confused for each in final) / sum(each.total for each in final)
    named = [delay for each in found for delay in each.delays if delay is not None]
    never = sum(delay is None for each in found for delay in each.delays)
    median, late = np.percentile([delay for delay, _ in named], [50, 90])
    spoken, much = np.percentile([spoken for _, spoken in named], [50, 90])
    return (
        name,
        str(len(found)),
        cell([each.first for each in found]),
        cell(final),
        f"{confused:.1f}",
        cell([each.offline for each in found]),
        f"{rate([each.strict for each in found]):.1f}",
        f"{np.mean([each.found == each.speakers for each in found]):.0%}",
        f"{np.mean([each.found_offline == each.speakers for each in found]):.0%}",
        f"{median:.1f} / {late:.1f}",
        f"{spoken:.1f} / {much:.1f}",
        str(never),
        f"{np.mean([each.cost for each in found]):.3f}",
    )


COLUMNS: Final = (
    "recordings",
    "number",
    "live as first sent, %",
    "live after revisions, %",
    "of it wrong speaker",
    "offline, %",
    "live after revisions, collar 0.125 s",
    "count right, live",
    "offline",
    "named after, s (median / p90)",
    "after own speech of, s",
    "never named",
    "CPU s per s",
)


def main() -> None:
    """Measure, and publish the table."""
    everybody = "--all" in sys.argv
    groups = {"collection": drawn(collected(everybody=everybody))}
    if folder := os.environ.get("SPEAKER_COLLECTION"):
        groups["dealt"] = dealt(below(Path(folder)))
    noise = [to_float(load(path)) for path, _ in rows("b_long")]
    table = Table("speakers", "Speaker labels: diarization error rate", COLUMNS)
    for group, talks in groups.items():
        for channel, change in channels(noise).items():
            found = measured([change(talk, seed) for seed, talk in enumerate(talks)])
            table.rows.append(row(f"{group}: {channel}", found))
            table.data[f"{group}: {channel}"] = {
                "first": rate([each.first for each in found]),
                "final": rate([each.final for each in found]),
                "bars": BARS.get(channel),
                "by_size": {
                    talk: rate([each.final for each, of in zip(found, talks, strict=True) if of.name == talk])
                    for talk in dict.fromkeys(of.name for of in talks)
                },
            }
            print(table.rows[-1], flush=True)
    if real := meetings():
        table.rows.append(row("real meetings", measured(real)))
    table.remarks = [
        "Diarization error rates by pyannote.metrics, with a collar of 0.25 s on each side of a boundary "
        "(pyannote's collar=0.5), in brackets their 95 % interval (bootstrap over recordings). Synthetic "
        "dialogues have pauses, but no overlapped speech; each speaker is recorded with one microphone.",
        "Bars, live / final: clean 3 / 1 %, noisy room 4 / 3 %, telephone 10 / 9 %; count right in 90 %; a "
        "speaker named within 5 s in the median; 0.05 CPU s per s (without the voice detector).",
    ]
    table.publish()


if __name__ == "__main__":
    main()
