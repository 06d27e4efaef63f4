"""Real recordings: those in `fixtures/speech`, and a larger collection if present.

It lies beside the checkout, or in the folder that `SPEECH_COLLECTION` names.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audio_processor.ffmpeg import find

FIXTURES = Path(__file__).parents[1] / "fixtures"
MICRO = FIXTURES / "whisper-micro"
JFK = FIXTURES / "speech" / "jfk.flac"
COLLECTION = Path(os.environ.get("SPEECH_COLLECTION") or Path(__file__).parents[3] / "shared" / "speech")
RATE = 16_000


@dataclass(frozen=True)
class Clip:
    path: Path
    text: str
    category: str

    @property
    def name(self) -> str:
        return self.path.stem


def rows(category: str) -> list[tuple[Path, dict[str, Any]]]:
    """The files of a category with their entries of the manifest; from the collection if it is present."""
    folder = COLLECTION if COLLECTION.exists() else FIXTURES / "speech"
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [(folder / row["file"], row) for row in found if row["category"] == category]


def clips(category: str, *, language: str | None = None) -> list[Clip]:
    """The clips of a category whose words are known."""
    return [
        Clip(path, row.get("text") or "", category)
        for path, row in rows(category)
        if language is None or row.get("language") == language
    ]


def fixture(name: str) -> np.ndarray:
    """int16 samples of a clip in `fixtures/speech`."""
    return load(FIXTURES / "speech" / name)


def words(name: str) -> str:
    """The text of a clip in `fixtures/speech`."""
    lines = (FIXTURES / "speech" / "manifest.jsonl").read_text().splitlines()
    [said] = [row["text"] for row in map(json.loads, lines) if row["file"] == name]
    return said


@cache
def load(path: Path) -> np.ndarray:
    """int16 samples at 16 kHz, mono; other formats are converted with FFmpeg."""
    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError:
        rate = 0
    if rate == RATE and samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    command = [
        find() or "ffmpeg",
        "-v",
        "error",
        "-i",
        path,
        "-ac",
        "1",
        "-ar",
        str(RATE),
        "-f",
        "s16le",
        "-",
    ]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<i2")
