"""Recordings as people have them, made of the speech of `jfk.flac` with FFmpeg, and where its words are."""

import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from support.speech import JFK, fixture

VIDEO = ("-f", "lavfi", "-i", "color=size=64x64:rate=5:duration=18")
MPEG4 = ("-c:v", "mpeg4")
WINDOW = 16_000  # samples of the speech that are looked for


@cache
def made(suffix: str, *arguments: str) -> bytes:
    """A file that FFmpeg writes with these arguments; "JFK" stands for the path of the speech."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"made.{suffix}"
        run(*("-i" if a == "-i" else str(JFK) if a == "JFK" else a for a in arguments), str(target))
        return target.read_bytes()


def run(*arguments: str) -> None:
    """Run the FFmpeg that is installed with Parlando."""
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *arguments], check=True)


@cache
def restamped(suffix: str, expression: str, *arguments: str) -> bytes:
    """The speech in a container whose packets get other timestamps. `expression`: of FFmpeg's `setts`."""
    with tempfile.TemporaryDirectory() as folder:
        plain, target = Path(folder) / "plain.mka", Path(folder) / f"made.{suffix}"
        run("-i", str(JFK), *arguments, str(plain))
        arguments = ("-movflags", "frag_keyframe+empty_moov") if suffix == "mp4" else ()
        run("-i", str(plain), "-c", "copy", "-bsf:a", f"setts=ts='{expression}'", *arguments, str(target))
        return target.read_bytes()


@cache
def late(suffix: str, seconds: float, *arguments: str) -> bytes:
    """A film whose sound begins after `seconds`."""
    return made(
        suffix, *VIDEO, "-itsoffset", str(seconds), "-i", "JFK", "-map", "0:v", "-map", "1:a", *arguments
    )


def second_at(found: np.ndarray, original_s: float) -> float:
    """The second of `found` at which the speech from second `original_s` on is, where it fits best."""
    start = round(original_s * 16_000)
    window = fixture("jfk.flac")[start : start + WINDOW].astype(float)
    size = 1 << (len(found) + len(window)).bit_length()
    scores = np.fft.irfft(np.fft.rfft(found.astype(float), size) * np.conj(np.fft.rfft(window, size)), size)
    return int(scores[: len(found)].argmax()) / 16_000


def loudness_at(found: np.ndarray, original_s: float) -> float:
    """As `second_at`, by the loudness, which is the same in speech that is a little stretched."""

    def loudness(samples: np.ndarray) -> np.ndarray:
        whole = samples[: len(samples) // 160 * 160].astype(float).reshape(-1, 160)
        levels = np.sqrt((whole**2).mean(axis=1))
        return levels - levels.mean()

    start = round(original_s * 16_000)
    window = loudness(fixture("jfk.flac")[start : start + 2 * WINDOW])
    return int(np.correlate(loudness(found), window).argmax()) / 100


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a RIFF file."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def wav(samples: np.ndarray, *, before: bytes = b"", size: int | None = None, first: bytes = b"") -> bytes:
    """A WAV of mono samples at 16 kHz. `first`, `before`: chunks before the format and before the samples.

    `size`: of the samples, as the header says; None for the right one.
    """
    data = samples.astype("<i2").tobytes()
    head = first + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)) + before
    head += b"data" + struct.pack("<I", len(data) if size is None else size)
    return b"RIFF" + struct.pack("<I", 4 + len(head) + len(data)) + b"WAVE" + head + data
