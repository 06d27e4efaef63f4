"""Which FFmpeg runs: the one on the PATH, else the one in the PyPI wheel imageio-ffmpeg."""

import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """An FFmpeg. `opens_descriptors`: whether it has the `fd:` protocol (6.0 and newer)."""

    path: str
    opens_descriptors: bool

    def source(self, descriptor: int) -> tuple[str, int | None]:
        """How to name an open file to it: an URL, and the number that goes with it, if one does."""
        if self.opens_descriptors:
            return "fd:", descriptor
        return f"file:/proc/self/fd/{descriptor}", None


def find() -> str | None:
    """The path of an FFmpeg, or None."""
    on_path = shutil.which("ffmpeg")
    if on_path:
        return on_path
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return None
    try:
        return str(get_ffmpeg_exe())
    except RuntimeError:  # the wheel for this platform carries no binary
        return None


def probe() -> Ffmpeg | None:
    """The FFmpeg and what it can do, or None."""
    path = find()
    if path is None:
        return None
    line = [path, "-hide_banner", "-protocols"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    return Ffmpeg(path, "fd" in done.stdout.partition("Input:")[2].partition("Output:")[0].split())
