"""What the sessions of a benchmark say: held-out clips of read English, one after another."""

import random
from dataclasses import dataclass
from functools import cache

import numpy as np

from parlando import vad
from parlando.domain.audio import to_float
from parlando.vad import FRAME
from support.speech import Clip, clips, load

RATE = 16_000  # Hz
LEAD_S = 0.5  # silence before the first clip
PAUSE_S = 0.7  # silence after each clip
SHORTEST_S, LONGEST_S = 2.0, 30.0  # of a clip
SPEECH = 0.5  # the voice detector's probability from which a frame counts as speech


@dataclass(frozen=True)
class Stream:
    """The audio of one session.

    `pcm`: int16 samples, 16 kHz, mono. `clips`: in their order. `starts`, `onsets`: second of the stream at
    which each clip, and the speech in it, starts.
    """

    pcm: np.ndarray
    clips: tuple[Clip, ...]
    starts: tuple[float, ...]
    onsets: tuple[float, ...]

    @property
    def placed(self) -> list[tuple[Clip, float]]:
        """The clips with their starts."""
        return list(zip(self.clips, self.starts, strict=True))

    @property
    def texts(self) -> list[str]:
        """The reference text of each clip."""
        return [clip.text for clip in self.clips]


def stream(seed: int, seconds: float, *, lead_s: float = LEAD_S, speech: float = 1.0) -> Stream:
    """Whole clips in a random order, at most `seconds` of them. The same seed gives the same stream.

    `speech`: share of the time for which clips are spoken; 1 for nothing but `PAUSE_S` between them.
    """
    order = _usable()
    chosen: list[Clip] = []
    starts, onsets = [], []
    parts = [np.zeros(round(lead_s * RATE), np.int16)]
    length = len(parts[0])
    source = random.Random(seed)
    waiting: list[Clip] = []
    while True:
        waiting = waiting or source.sample(order, len(order))
        room = seconds * RATE - length - round(PAUSE_S * RATE)
        fitting = [clip for clip in waiting if len(load(clip.path)) / speech <= room]
        if not fitting:
            break
        clip = fitting[0]
        waiting.remove(clip)
        pcm = load(clip.path)
        chosen.append(clip)
        starts.append(length / RATE)
        onsets.append(length / RATE + _onset(clip))
        silence = round(PAUSE_S * RATE) + round(len(pcm) * (1 / speech - 1))
        parts += [pcm, np.zeros(silence, np.int16)]
        length += len(pcm) + silence
    return Stream(np.concatenate(parts), tuple(chosen), tuple(starts), tuple(onsets))


@cache
def _usable() -> list[Clip]:
    found = [
        clip for clip in clips("a_english_read") if SHORTEST_S <= len(load(clip.path)) / RATE <= LONGEST_S
    ]
    return sorted(found, key=lambda clip: clip.name)


@cache
def _onset(clip: Clip) -> float:
    """The second of the clip at which speech starts; 0 if the voice detector finds none."""
    pcm = to_float(load(clip.path))
    whole = len(pcm) // FRAME * FRAME
    probabilities = vad.load("silero").stream().push(pcm[:whole])
    return next((n * FRAME / RATE for n, each in enumerate(probabilities) if each >= SPEECH), 0.0)
