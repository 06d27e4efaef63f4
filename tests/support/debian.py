"""Programs of Debian's packages: the installed one, or the package unpacked beside the virtual environment.

Nothing is installed, so no service starts and no rights are needed.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "debian"
PLACES = ("usr/sbin", "usr/bin", "usr/local/bin")


def program(name: str, *packages: str) -> Path:
    """The path of a program, which is in the first of `packages`. Skips the test if it can't be had."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *(f"/{place}" for place in PLACES)])
    if found := shutil.which(name, path=path):
        return Path(found)
    root = FOLDER / name
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:  # other processes of pytest wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _inside(root, name):
            _unpack(root, packages)
    if not (unpacked := _inside(root, name)):
        why = f"{name} isn't installed, and apt-get can't download {' and '.join(packages)}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return unpacked


def _inside(root: Path, name: str) -> Path | None:
    return next((root / place / name for place in PLACES if (root / place / name).exists()), None)


def _unpack(root: Path, packages: tuple[str, ...]) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return
    for package in packages:
        subprocess.run(["apt-get", "download", package], cwd=root, capture_output=True, check=False)
        for archive in root.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, root], capture_output=True, check=False)
            archive.unlink()
