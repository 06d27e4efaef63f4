"""Known speakers: how often they are recognised, missed or taken for another: python -m bench.known_speakers

People: those of `bench.speakers` (`SPEECH_COLLECTION`, `SPEAKER_COLLECTION`), without those on whom the
threshold was chosen. Half of them are known. Each known one is enrolled by the first 5, 10 or 30 s of speech;
the rest of everybody's speech is divided into pieces, each of which stands for a speaker of a session.
"""

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from bench.results import Table
from bench.speakers import CHOSEN_ON, below, collected
from parlando.domain.audio import Float32, to_float
from parlando.domain.known_speakers import KnownSpeaker
from support.dialogues import LEVEL, Channel, among, in_noisy_room, rms, telephone
from support.speech import RATE, load, rows
from transcriber.speakers.embedding import unit, voice_model
from transcriber.speakers.known import KnownVoices, clip_of
from transcriber.speakers.windows import spans

ENROLLED_S: Final = (5, 10, 30)
ENROLLED_OVER: Final = (("clean",), ("telephone",), ("noisy room",), ("clean", "telephone"))
PIECES_S: Final = (5, 10)
LONGEST_S: Final = 60.0
"""Of a person's speech that is used."""
DRAWS: Final = 20
"""Divisions of the people into known and unknown ones."""


@dataclass(frozen=True)
class Voice:
    """A person's windows through a channel: vectors, shape (n, 192), and the seconds that each stands for."""

    vectors: Float32
    seconds: Float32

    def piece(self, start: float, end: float) -> Float32 | None:
        """The unit mean of the windows from second `start` of the speech to `end`; None if too few."""
        ends = np.cumsum(self.seconds)
        inside = (ends > start) & (ends <= end)
        if self.seconds[inside].sum() < 0.8 * (end - start):
            return None
        return unit((self.vectors[inside] * self.seconds[inside, None]).sum(axis=0))


@dataclass
class Counts:
    """Pieces of known speakers: recognised, missed, taken for another; unknown ones: all, taken for one."""

    right: int = 0
    missed: int = 0
    swapped: int = 0
    unknown: int = 0
    accepted: int = 0


def tuned(who: str) -> bool:
    """Whether a person is among those on whom the threshold was chosen."""
    return (
        who == "LJ"
        or f"libri-{who}" in CHOSEN_ON
        or (who.isdecimal() and zlib.crc32(f"heldout:{who}".encode()) % 2 == 0)
    )


def voice(said: Sequence[Float32], channel: Channel | None, seed: int) -> Voice:
    """Embed a person's stretches of speech behind a channel."""
    vectors, seconds = [], []
    for number, stretch in enumerate(said):
        clip = (stretch * (LEVEL / rms(stretch))).astype(np.float32)
        heard = channel(clip, 1000 * seed + number) if channel else clip
        windows = spans(0, len(heard) / RATE)
        vectors.append(
            voice_model().embed([heard[round(w.start * RATE) : round(w.end * RATE)] for w in windows])
        )
        seconds += [window.seconds for window in windows]
        if sum(seconds) > LONGEST_S:
            break
    return Voice(np.concatenate(vectors), np.array(seconds, np.float32))


def _voice(channel: Channel | None, pair: tuple[int, Sequence[Float32]]) -> Voice:
    return voice(pair[1], channel, pair[0])


def enrolled(people: Sequence[str], heard: Mapping[str, Mapping[str, Voice]], seconds: float) -> KnownVoices:
    """Enrol people by the first seconds of their speech through each of the channels."""
    known = []
    for who in people:
        clips = [
            clip_of(
                vector[None], np.ones(1, np.float32), seconds=seconds, narrow=channel.startswith("telephone")
            )
            for channel, voices in heard.items()
            if (vector := voices[who].piece(0, seconds)) is not None
        ]
        known += [KnownSpeaker(name=who, created_ms=0, clips=tuple(clips))] if clips else []
    return KnownVoices.of(known)


def counted(known: KnownVoices, heard: Mapping[str, Voice], skip_s: float, piece_s: float) -> Counts:
    """Recognise pieces of speech. `skip_s`: how much of a known speaker's was used to enrol."""
    counts = Counts()
    for who, spoken in heard.items():
        for n in range(int((spoken.seconds.sum() - skip_s) // piece_s)):
            piece = spoken.piece(skip_s + n * piece_s, skip_s + (n + 1) * piece_s)
            if piece is None:
                continue
            person = known.recognised(piece[None], [piece_s]).get(0)
            if who not in known.names:
                counts.unknown += 1
                counts.accepted += person is not None
            elif person is None:
                counts.missed += 1
            elif person.name == who:
                counts.right += 1
            else:
                counts.swapped += 1
    return counts


def row(name: str, draws: Sequence[Counts], people: int) -> tuple[str, ...]:
    """A row of the table. The intervals are those of the draws, 2.5 to 97.5 %."""

    def share(part: Callable[[Counts], int], of: Callable[[Counts], int]) -> str:
        found = [part(each) / of(each) for each in draws if of(each)]
        if not found:
            return "-"
        low, high = np.percentile(found, [2.5, 97.5])
        return f"{100 * np.mean(found):.1f} ({100 * low:.1f}–{100 * high:.1f})"

    def all_known(each: Counts) -> int:
        return each.right + each.missed + each.swapped

    return (
        name,
        str(people),
        f"{np.mean([all_known(each) for each in draws]):.0f}",
        share(lambda each: each.missed, all_known),
        share(lambda each: each.swapped, all_known),
        f"{np.mean([each.unknown for each in draws]):.0f}",
        share(lambda each: each.accepted, lambda each: each.unknown),
    )


def main() -> None:
    """Measure, and publish the table."""
    voices = {who.removeprefix("libri-"): said for who, said in collected(everybody=True).items()}
    if folder := os.environ.get("SPEAKER_COLLECTION"):
        voices = {**below(Path(folder)), **voices}
    voices = {who: said for who, said in voices.items() if not tuned(who)}
    noise = [to_float(load(path)) for path, _ in rows("b_long")]
    channels: dict[str, Channel | None] = {
        "clean": None,
        "telephone": telephone,
        "noisy room": in_noisy_room,
        "babble": among(noise),
    }
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as processes:
        heard = {
            name: dict(
                zip(voices, processes.map(partial(_voice, channel), enumerate(voices.values())), strict=True)
            )
            for name, channel in channels.items()
            if name != "babble"  # its channel can't be sent to another process
        }
    heard["babble"] = {w: voice(said, channels["babble"], n) for n, (w, said) in enumerate(voices.items())}
    columns = (
        "enrolled, channel, piece",
        "people with enough speech",
        "pieces of known",
        "missed, %",
        "taken for another, %",
        "pieces of unknown",
        "taken for a known one, %",
    )
    table = Table("known_speakers", "Known speakers", columns)
    for enrolled_s in ENROLLED_S:
        able = sorted(who for who, v in heard["clean"].items() if v.seconds.sum() > enrolled_s + PIECES_S[0])
        for channels_of, channel in product(ENROLLED_OVER, heard):
            over = {each: heard[each] for each in channels_of}
            for piece_s in PIECES_S:
                draws = []
                for seed in range(DRAWS):
                    order = np.random.default_rng(seed).permutation(able)
                    known = enrolled(sorted(order[: (len(order) + 1) // 2]), over, enrolled_s)
                    draws.append(counted(known, heard[channel], enrolled_s, piece_s))
                name = f"{enrolled_s} s {' and '.join(channels_of)}, {channel}, {piece_s} s"
                table.rows.append(row(name, draws, len(able)))
                print(table.rows[-1], flush=True)
    table.remarks = [
        f"Each row has {DRAWS} random divisions of the people into known and unknown ones; in brackets the "
        "95 % interval of its shares over them. Read speech; most people have one recording of 15 s, so that "
        "a clip and a piece are from the same recording.",
    ]
    table.publish()


if __name__ == "__main__":
    main()
