"""Rules that turn a voice detector's probabilities into speech, shared by live sessions and jobs. Pure.

A detector gives one probability of speech for each frame. Two thresholds (hysteresis) and a minimum number
of frames keep short noises from beginning speech and short dips from ending it.
"""

from typing import Final

import numpy as np

from parlando.domain.audio import samples, to_float
from parlando.domain.audio_buffer import AudioBuffer

ENTER_PROBABILITY: Final = 0.5  # from this probability on, silence becomes speech
STAY_PROBABILITY: Final = 0.35  # below this probability, speech becomes silence
ONSET_FRAMES: Final = 2  # consecutive frames of speech that begin a segment
BLOCK: Final = samples(30)  # resolution of the search for the quietest place


def is_speech(probability: float, *, after_speech: bool) -> bool:
    """Whether a frame is speech; `after_speech`: whether the frame before it was."""
    return probability >= (STAY_PROBABILITY if after_speech else ENTER_PROBABILITY)


def onset_frames(before: int, probability: float) -> int:
    """The number of consecutive speech frames in silence, after one more frame; speech begins at
    `ONSET_FRAMES`.
    """
    return before + 1 if is_speech(probability, after_speech=False) else 0


def quietest(audio: AudioBuffer, start: int, end: int) -> int:
    """The middle of the block of least energy in samples [start, end); the first one among equals."""
    pcm = to_float(audio.slice(start, end))
    blocks = pcm[: len(pcm) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return start + int(np.square(blocks).sum(axis=1).argmin()) * BLOCK + BLOCK // 2
