"""Finds the FFmpeg to run: on the PATH, else in the package imageio-ffmpeg; it must be 4.2 or newer."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog

MIN_VERSION: Final = "4.2"
"""The oldest FFmpeg with the same samples as newer ones: 4.1 delays Opus by 6.5 ms."""

_OLDEST_LIBAVFORMAT: Final = (58, 29)  # of FFmpeg 4.2; builds from git have no other version number
_VERSION: Final = re.compile(r"^ffmpeg version (\S+)", re.MULTILINE)
_LIBAVFORMAT: Final = re.compile(r"^libavformat\s+(\d+)\.\s*(\d+)\.", re.MULTILINE)
_TIMEOUT_S: Final = 30  # of `ffmpeg -version`; long enough for a machine under load

log = structlog.get_logger(part="ffmpeg")


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """An FFmpeg program. `opens_descriptors`: whether it has the `fd:` protocol (6.0 and newer)."""

    path: str
    version: str
    opens_descriptors: bool

    def source(self, descriptor: int) -> tuple[str, int | None]:
        """The URL of an open file for this FFmpeg, and the value of its option `fd` if the URL needs it."""
        if self.opens_descriptors:
            return "fd:", descriptor
        return f"file:/proc/self/fd/{descriptor}", None


def find() -> str | None:
    """The path of the FFmpeg that `probe` selects, or None."""
    found = probe()
    return found.path if found else None


def probe() -> Ffmpeg | None:
    """The first usable FFmpeg, or None. The reasons why others are unusable are logged."""
    for path in _installed():
        try:
            return _examine(path)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.warning("ffmpeg.unusable", path=path, why=str(error))
    return None


def _installed() -> Iterator[str]:
    if on_path := shutil.which("ffmpeg"):
        yield on_path
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        yield str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # no wheel, or none with a binary for this platform
        return


def _examine(path: str) -> Ffmpeg:
    """Query the version and the protocols of the FFmpeg at `path`.

    Raises
    ------
    ValueError
        if it's too old, or no FFmpeg.
    OSError, subprocess.SubprocessError
        if it doesn't run.

    """
    printed = _output(path, "-version")
    version, library = _VERSION.search(printed), _LIBAVFORMAT.search(printed)
    if version is None or library is None:
        raise ValueError(f"Expected an FFmpeg, but `{path} -version` doesn't print its version")
    if (int(library[1]), int(library[2])) < _OLDEST_LIBAVFORMAT:
        raise ValueError(f"Expected FFmpeg {MIN_VERSION} or newer, but {path} is {version[1]}")
    protocols = _output(path, "-hide_banner", "-protocols").partition("Input:")[2].partition("Output:")[0]
    return Ffmpeg(path, version[1], "fd" in protocols.split())


def _output(path: str, *options: str) -> str:
    line = [path, *options]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S).stdout  # noqa: S603
