"""An engine for audio that went through a browser's microphone: the pitch of a tone says which word it is.

`perfect.speak` encodes words in the amplitude of the highest frequency, which resampling and an automatic
gain take away. A tone of `WORD_S` seconds survives both. Words from `GERMAN` on are German.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from support.perfect import PerfectEngine, silence, word
from transcriber.engines.base import Hypothesis, Window, Word

TONES: Final = {"STT_ENGINE": "support.tones:engine", "VAD": "rms"}  # for a Cluster
RATE: Final = 16_000
WORD_S: Final = 0.3
GAP_S: Final = 0.15
GERMAN: Final = 30
_LOWEST: Final = 400.0  # Hz of word 0
_STEP: Final = 50.0  # Hz between words; 60 words end at 3350 Hz
_FRAME: Final = 160  # samples whose loudness is judged together
_LOUD: Final = 0.05


def sing(count: int, *, first: int = 0) -> np.ndarray:
    """int16 audio of `count` words, each followed by a short gap."""
    times = np.arange(int(WORD_S * RATE)) / RATE
    parts = []
    for number in range(first, first + count):
        tone = 12_000 * np.sin(2 * np.pi * (_LOWEST + _STEP * number) * times)
        parts += [tone.astype(np.int16), silence(GAP_S)]
    return np.concatenate(parts)


def phrases(count: int, *, words: int = 4, first: int = 0, behind: float = 60) -> np.ndarray:
    """Phrases of `words` words, each followed by a pause that ends its segment.

    `behind`: seconds of silence behind them.
    """
    parts = [part for n in range(count) for part in (sing(words, first=first + n * words), silence(1.2))]
    return np.concatenate([silence(0.5), *parts, silence(behind)])


class ToneEngine(PerfectEngine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        languages = frozenset({"en", "de"})
        self.info = replace(self.info, name="tones", languages=languages)

    def _transcribe(self, window: Window) -> Hypothesis:
        found = [
            (_number(window.samples[start:end]), start / RATE, end / RATE)
            for start, end in _bursts(window.samples)
        ]
        german = bool(found) and found[-1][0] >= GERMAN
        words = [
            Word(word(number).upper() if window.task == "translate" else word(number), start, end)
            for number, start, end in found
        ]
        reason = None if words else "no_speech"
        return Hypothesis(tuple(words), "de" if german else "en", 0.99, reason, 0.99)


def _bursts(samples: np.ndarray) -> Sequence[tuple[int, int]]:
    """The tones of which at least half is there, as positions in samples."""
    frames = len(samples) // _FRAME
    loud = np.abs(samples[: frames * _FRAME]).reshape(frames, _FRAME).max(axis=1) > _LOUD
    edges = np.flatnonzero(np.diff(np.r_[False, loud, False].astype(int)))
    pairs = edges.reshape(-1, 2) * _FRAME
    return [(int(start), int(end)) for start, end in pairs if 2 * (end - start) > WORD_S * RATE]


def _number(samples: np.ndarray) -> int:
    """The word of a tone."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 15))
    return max(0, round((np.argmax(spectrum) * RATE / (1 << 15) - _LOWEST) / _STEP))


def engine(settings: Any) -> ToneEngine:
    """The factory that STT_ENGINE names."""
    return ToneEngine()
