"""Synthetic music by seed: melody, chords, bass, drums; and what happens to music before a microphone."""

import io
from collections.abc import Iterable
from functools import cache

import numpy as np
import soundfile
from scipy.signal import fftconvolve, resample_poly

from parlando.store.song_index import FRAME_BYTES, NUMBER_BYTES
from song_recognizer.landmarks import landmarks
from support.speech import RATE

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 7, 9))
PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 4), (5, 3, 0, 4), (0, 5, 1, 4), (0, 2, 3, 4))


@cache
def music(seed: int, seconds: float = 40.0) -> np.ndarray:
    """A piece of 16 kHz mono music. The same seed gives the same piece."""
    random = np.random.default_rng(seed)
    beat = 60 / random.uniform(70, 150)
    scale = SCALES[random.integers(len(SCALES))]
    root = random.uniform(110, 220)
    progression = PROGRESSIONS[random.integers(len(PROGRESSIONS))]
    lead, pad = (_timbre(random) for _ in range(2))
    out = np.zeros(int(seconds * RATE) + 4 * RATE)
    for bar in range(int(seconds / (4 * beat)) + 1):
        degree = progression[(bar + random.integers(2)) % len(progression)]
        for step in (0, 2, 4):
            _add(out, bar * 4 * beat, _tone(random, _pitch(root, scale, degree + step), 4 * beat, pad) * 0.15)
        _add(out, bar * 4 * beat, _tone(random, _pitch(root / 2, scale, degree), 3 * beat, pad) * 0.3)
        at = 0.0
        while at < 4:
            length = random.choice([0.5, 0.5, 1.0, 1.5])
            if random.random() < 0.85:
                pitch = _pitch(root * 2, scale, degree + random.integers(-3, 8))
                _add(out, (bar * 4 + at) * beat, _tone(random, pitch, length * beat, lead) * 0.4)
            at += length
        for hit in range(8):
            if random.random() < (0.9 if hit % 4 == 0 else 0.5):
                _add(out, (bar * 4 + hit / 2) * beat, _drum(random, low=hit % 4 == 0) * 0.35)
    out = out[: int(seconds * RATE)]
    return (out / np.abs(out).max() * 20_000).astype(np.int16)


def _timbre(random: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Levels of the harmonics, vibrato and decay of an instrument."""
    levels = random.uniform(0.2, 1.0, 8) / np.arange(1, 9) ** random.uniform(0.5, 1.8)
    return levels, random.uniform(0, 0.004), random.uniform(0.8, 5.0)


def _pitch(root: float, scale: tuple[int, ...], degree: int) -> float:
    octave, step = divmod(int(degree), len(scale))
    return root * 2 ** (octave + scale[step] / 12)


def _tone(random: np.random.Generator, pitch: float, seconds: float, timbre) -> np.ndarray:
    levels, vibrato, decay = timbre
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * pitch * (t + vibrato / 5 * np.sin(2 * np.pi * 5 * t))
    tone = sum(
        level * np.sin(number * phase + random.uniform(0, 6))
        for number, level in enumerate(levels, start=1)
        if number * pitch < RATE / 2
    )
    return tone * np.minimum(1, t * 60) * np.exp(-decay * t) * np.minimum(1, (seconds - t) * 30)


def _drum(random: np.random.Generator, *, low: bool) -> np.ndarray:
    t = np.arange(int(0.15 * RATE)) / RATE
    if low:
        return np.sin(2 * np.pi * 60 * t * np.exp(-6 * t)) * np.exp(-18 * t)
    return random.standard_normal(len(t)) * np.exp(-45 * t) * 0.5


def _add(out: np.ndarray, at: float, sound: np.ndarray) -> None:
    start = int(at * RATE)
    sound = sound[: max(0, len(out) - start)]
    out[start : start + len(sound)] += sound


def rms(pcm: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) + 1e-9


def pcm16(pcm: np.ndarray, peak: float | None = None) -> np.ndarray:
    """Samples as 16-bit PCM, scaled so that none clips, or to `peak`."""
    greatest = float(np.abs(pcm).max()) or 1.0
    if peak is not None or greatest > 32_000:
        pcm = pcm * ((peak or 32_000) / greatest)
    return pcm.astype(np.int16)


def under_speech(pcm: np.ndarray, speech: np.ndarray, db: float) -> np.ndarray:
    """Music with speech over it, at `db` decibels of music above the speech."""
    music, voice = pcm.astype(np.float64), speech[: len(pcm)].astype(np.float64)
    return pcm16(music + voice * (rms(music) / rms(voice) * 10 ** (-db / 20)))


def at_8_khz(pcm: np.ndarray) -> np.ndarray:
    """What is left after a recording at 8 kHz."""
    return pcm16(resample_poly(resample_poly(pcm.astype(np.float64), 1, 2), 2, 1))


def in_a_room(pcm: np.ndarray, seed: int = 0, seconds: float = 0.6) -> np.ndarray:
    """With reverberation: 0.6 s until it is 60 dB lower, as loud as the direct sound."""
    count = int(seconds * RATE)
    response = np.random.default_rng(seed).standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return pcm16(fftconvolve(pcm.astype(np.float64), response)[: len(pcm)])


def quieter(pcm: np.ndarray, db: float = 30.0) -> np.ndarray:
    return (pcm * 10 ** (-db / 20)).astype(np.int16)


def excerpt(number: int, start_s: float, seconds: float = 10.0) -> np.ndarray:
    """A part of a piece."""
    return music(number)[int(start_s * RATE) :][: int(seconds * RATE)]


def file_of(pcm: np.ndarray, form: str = "FLAC") -> bytes:
    """Samples as a file."""
    out = io.BytesIO()
    soundfile.write(out, pcm, RATE, format=form, subtype="PCM_16")
    return out.getvalue()


def song_records(numbers: Iterable[int]) -> dict[int, bytes]:
    """The records of these pieces, as the index has them: hash → records."""
    found: dict[int, bytes] = {}
    for number in numbers:
        for value, frames in landmarks(music(number)).by_hash().items():
            for frame in frames:
                record = number.to_bytes(NUMBER_BYTES, "little") + frame.to_bytes(FRAME_BYTES, "little")
                found[value] = found.get(value, b"") + record
    return found
