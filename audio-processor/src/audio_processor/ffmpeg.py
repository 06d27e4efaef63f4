"""Which FFmpeg runs: the one on the PATH, else the one in the PyPI wheel imageio-ffmpeg."""

import shutil


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
