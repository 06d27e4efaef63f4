"""Which FFmpeg runs: the one on the PATH, else the one in the wheel imageio-ffmpeg; both 4.2 or newer."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog

OLDEST: Final = "4.2"
"""The oldest FFmpeg that gives the samples that newer ones give: 4.1 puts Opus 6.5 ms late."""

_OLDEST_LIBAVFORMAT: Final = (58, 29)  # of FFmpeg 4.2; a build from git has no other number
_VERSION: Final = re.compile(r"^ffmpeg version (\S+)", re.MULTILINE)
_LIBAVFORMAT: Final = re.compile(r"^libavformat\s+(\d+)\.\s*(\d+)\.", re.MULTILINE)
_WAIT_S: Final = 30  # for an answer, on a machine under load

log = structlog.get_logger(part="ffmpeg")


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """An FFmpeg. `opens_descriptors`: whether it has the `fd:` protocol (6.0 and newer)."""

    path: str
    version: str
    opens_descriptors: bool

    def source(self, descriptor: int) -> tuple[str, int | None]:
        """How to name an open file to it: a URL, and the number that goes with it, if one does."""
        if self.opens_descriptors:
            return "fd:", descriptor
        return f"file:/proc/self/fd/{descriptor}", None


def find() -> str | None:
    """The path of the FFmpeg that `probe` takes, or None."""
    found = probe()
    return found.path if found else None


def probe() -> Ffmpeg | None:
    """The first FFmpeg that can be used, or None. Why another one can't be used is logged."""
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
    """Ask an FFmpeg for its version and its protocols.

    Raises
    ------
    ValueError
        if it's too old, or no FFmpeg.
    OSError, subprocess.SubprocessError
        if it doesn't run.

    """
    said = _ask(path, "-version")
    version, library = _VERSION.search(said), _LIBAVFORMAT.search(said)
    if version is None or library is None:
        raise ValueError(f"Expected an FFmpeg that says its version, but `{path} -version` doesn't")
    if (int(library[1]), int(library[2])) < _OLDEST_LIBAVFORMAT:
        raise ValueError(f"Expected FFmpeg {OLDEST} or newer, but {path} is {version[1]}")
    protocols = _ask(path, "-hide_banner", "-protocols").partition("Input:")[2].partition("Output:")[0]
    return Ffmpeg(path, version[1], "fd" in protocols.split())


def _ask(path: str, *options: str) -> str:
    line = [path, *options]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=_WAIT_S).stdout  # noqa: S603
