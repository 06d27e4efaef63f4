"""One recording in the formats that clients may send, encoded by the FFmpeg installed with Parlando.

The FFmpeg on the PATH is not used: files of older encoders differ, such as in the block size of a FLAC.
"""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe


@dataclass(frozen=True)
class Recipe:
    """FFmpeg's options of a format, and the client's query parameters for it."""

    arguments: tuple[str, ...]
    query: tuple[tuple[str, Any], ...]


def _raw(form: str, encoding: str, rate: int, channels: int) -> Recipe:
    return Recipe(
        ("-ar", str(rate), "-ac", str(channels), "-f", form),
        (("encoding", encoding), ("sample_rate", rate), ("channels", channels)),
    )


def _container(*arguments: str) -> Recipe:
    return Recipe(arguments, (("encoding", "container"),))


RECIPES = {
    **{
        f"s16le_{rate}_{channels}": _raw("s16le", "pcm_s16le", rate, channels)
        for rate in (8000, 16_000, 24_000, 44_100, 48_000)
        for channels in (1, 2)
    },
    "f32le_16000_1": _raw("f32le", "pcm_f32le", 16_000, 1),
    "f32le_48000_2": _raw("f32le", "pcm_f32le", 48_000, 2),
    "mulaw_8000": _raw("mulaw", "mulaw", 8000, 1),
    "alaw_8000": _raw("alaw", "alaw", 8000, 1),
    "wav": _container("-ar", "44100", "-ac", "2", "-f", "wav"),
    "flac": _container("-f", "flac"),
    "mp3": _container("-ar", "44100", "-b:a", "64k", "-f", "mp3"),
    "ogg_opus": _container("-c:a", "libopus", "-f", "ogg", "-page_duration", "20000"),
    "webm_opus": _container("-c:a", "libopus", "-f", "webm", "-cluster_time_limit", "100", "-live", "1"),
    "mp4_aac": _container(
        "-ar", "44100", "-c:a", "aac", "-b:a", "64k", "-f", "mp4", "-movflags", "frag_keyframe+empty_moov",
        "-frag_duration", "200000",
    ),
}  # fmt: skip


@cache
def encoded(path: Path, name: str) -> bytes:
    """The recording at `path` in the format `name`."""
    command = [get_ffmpeg_exe(), "-v", "error", "-i", path, *RECIPES[name].arguments, "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout
