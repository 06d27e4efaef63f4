"""An engine that makes no mistakes, and synthetic audio for it.

Every sample of a word encodes the word's number in its amplitude, so the engine computes words from
samples. A word counts if more than half of it lies in the window: however the audio is cut, each word
is recognised exactly once. The last word of a growing window is recognised wrongly until it is complete, as
with real engines.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from transcriber.engines.base import Engine, EngineInfo, Hypothesis, Window, Word

PERFECT = {"STT_ENGINE": "support.perfect:engine", "VAD": "rms", "STALL_FLUSH_S": "20"}
"""Settings of a Cluster. A sender that is late by 2 s on a busy machine must not end a segment."""
RATE = 16_000
BASE = 6000  # amplitude of word 0
WORD = int(0.3 * RATE)
GAP = int(0.2 * RATE)


def word(number: int) -> str:
    """The word of a number."""
    return f"w{number:04d}"


def speak(count: int, *, first: int = 0, gap: int = GAP, word_length: int = WORD) -> np.ndarray:
    """int16 audio of `count` words, each followed by `gap` samples of silence."""
    parts = []
    for number in range(first, first + count):
        burst = np.full(word_length, BASE + number, np.int16)
        burst[1::2] *= -1
        parts += [burst, np.zeros(gap, np.int16)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def silence(seconds: float) -> np.ndarray:
    """int16 zeros."""
    return np.zeros(int(seconds * RATE), np.int16)


def script(first: int, count: int) -> list[str]:
    """The words in the audio of `speak`."""
    return [word(number) for number in range(first, first + count)]


class PerfectEngine(Engine):
    """See the module. `PERFECT_DELAY_MS`: how long each call takes.

    `PERFECT_LANGUAGE`: the only language that it can do; then its pool is `perfect-<language>`.
    """

    def __init__(self, *, primes: bool = False, batch: int = 1) -> None:
        language = os.environ.get("PERFECT_LANGUAGE")
        self.delay_s = float(os.environ.get("PERFECT_DELAY_MS", "0")) / 1000
        self.info = EngineInfo(
            name="perfect",
            model=language or "script",
            languages=frozenset({language} if language else ()),
            tasks=frozenset({"transcribe", "translate"}),
            max_window_s=30.0,
            batch=batch,
            word_times=True,
            primes=primes,
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """The words of each window."""
        if self.delay_s:
            time.sleep(self.delay_s)
        return [self._transcribe(window) for window in windows]

    def _transcribe(self, window: Window) -> Hypothesis:
        loud = np.rint(np.abs(window.samples) * 32768).astype(int)
        loud[loud < BASE] = 0
        edges = np.flatnonzero(np.diff(loud)) + 1
        starts, ends = np.r_[0, edges], np.r_[edges, len(loud)]
        words = []
        for start, end in zip(starts, ends, strict=True):
            number = loud[start] - BASE
            if loud[start] == 0 or (end - start) * 2 <= WORD:
                continue
            text = word(number) if window.task == "transcribe" else word(number).upper()
            if end == len(loud) and end - start < WORD and not window.final:
                text = f"misheard{end}"
            words.append(Word(text, float(start / RATE), float(end / RATE)))
        return Hypothesis(tuple(words), "en", 0.99, None if words else "no_speech")


def engine(settings: Any) -> PerfectEngine:
    """The factory that STT_ENGINE names."""
    return PerfectEngine()
