"""The wheels of all distributions: `python deploy/wheels.py build|check [FOLDER]`, by default in dist/.

`build` makes one wheel of each distribution from a copy of its sources: nothing of an earlier build gets in.
`check` installs `parlando[all]` from the wheels into an empty environment, runs `parlando up` in an empty
folder, transcribes a recording, and stops the cluster.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DISTRIBUTIONS: Final = (
    "shared",
    "api-gateway",
    "audio-processor",
    "song-recognizer",
    "transcriber",
    "analyzer",
)
"""The folders that become wheels."""
CLIP: Final = ROOT / "tests/fixtures/speech/jfk.flac"
SAID: Final = "ask not what your country"
READY_WITHIN_S: Final = 600  # the models are fetched at the first start
INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")
"""Environment variables of this process that the cluster gets."""
UNWANTED: Final = ("torch", "spacy")
"""Packages that `parlando[all]` must not install: hundreds of megabytes that the defaults don't use."""


def build(target: Path, *, isolation: bool = True) -> list[Path]:
    """Build a wheel of each distribution into `target`. `isolation`: fetch the build tools anew."""
    target.mkdir(parents=True, exist_ok=True)
    for name in DISTRIBUTIONS:
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / name
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")
            shutil.copytree(ROOT / name / "src", copy / "src", ignore=ignored)
            for file in (ROOT / name / "pyproject.toml", ROOT / "LICENSE"):
                shutil.copy(file, copy)
            options = [] if isolation else ["--no-isolation"]
            command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(target.resolve()), *options]
            done = subprocess.run([*command, str(copy)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} can't be built:\n{done.stdout}{done.stderr}")
    return sorted(target.glob("*.whl"))


def missing(wheel: Path, folder: Path) -> list[str]:
    """The files of a distribution's sources that its wheel lacks, as paths below `src`."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    sources = (path.relative_to(folder / "src") for path in (folder / "src").rglob("*") if path.is_file())
    wanted = (path for path in sources if not _made(path))
    return sorted(str(path) for path in wanted if path.as_posix() not in packed)


def _made(path: Path) -> bool:
    return path.suffix == ".pyc" or any(part.endswith(".egg-info") for part in path.parts)


def version() -> str:
    """The version of all distributions."""
    return str(tomllib.loads((ROOT / "shared/pyproject.toml").read_text())["project"]["version"])


def check(wheels: Path) -> None:
    """Install the wheels into an empty environment and use them. Raises if something doesn't work."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        venv.create(place / "venv", with_pip=True)
        binaries = place / "venv" / "bin"
        pip = [str(binaries / "pip"), "--disable-pip-version-check"]
        constraints = ["-c", str(ROOT / "constraints.txt"), "--find-links", str(wheels.resolve())]
        subprocess.run([*pip, "install", "--quiet", *constraints, f"parlando[all]=={version()}"], check=True)
        listed = subprocess.run([*pip, "list"], capture_output=True, text=True, check=True).stdout.lower()
        if found := [
            name for name in UNWANTED if any(line.split()[0] == name for line in listed.splitlines())
        ]:
            raise SystemExit(f"parlando[all] has installed {', '.join(found)}")
        _use(binaries, place)
    print("parlando[all] was installed, started and used.")


def _use(binaries: Path, place: Path) -> None:
    """Run a cluster in an empty folder, transcribe a recording by it, and stop it."""
    folder = place / "empty"
    folder.mkdir()
    ports = dict(zip(("PORT", "PROCESSOR_PORT"), _free_ports(2), strict=True))
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= ports | {
        "WYOMING_PORT": "0",
        "STREAMING_WORKERS": "1",
        "PARLANDO_MODELS": str(place / "models"),
    }
    with (place / "log").open("w") as log:
        cluster = subprocess.Popen(
            [binaries / "parlando", "up"], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while "ready." not in (place / "log").read_text():
            if cluster.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the cluster doesn't start:\n{(place / 'log').read_text()}")
            time.sleep(0.2)
        address = f"http://127.0.0.1:{ports['PORT']}"
        command = [str(binaries / "parlando"), "transcribe", str(CLIP), "--url", address]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        if SAID not in done.stdout.lower():
            raise SystemExit(f"expected {SAID!r} in the text:\n{done.stdout}{done.stderr}")
    finally:
        cluster.send_signal(signal.SIGINT)
        cluster.wait(60)


def _free_ports(count: int) -> Iterator[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return iter(numbers)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Build or check the wheels.")
    parser.add_argument("action", choices=("build", "check"))
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "dist")
    chosen = parser.parse_args()
    if chosen.action == "check":
        check(chosen.folder)
        return
    for wheel in build(chosen.folder):
        print(f"{wheel.name}  {wheel.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
