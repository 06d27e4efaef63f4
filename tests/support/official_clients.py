"""Official clients of other services, unmodified: Python packages in `.venv-clients`, npm packages elsewhere.

A script `tests/clients/<name>.py` or `.mjs` is run in a process of its own and prints one JSON value a line.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
SCRIPTS = TESTS / "clients"
PYTHON = TESTS.parent / ".venv-clients" / "bin" / "python"
LIMIT_S = 600.0  # a script that hangs is ended

needs_clients = pytest.mark.skipif(
    not PYTHON.exists() and not os.environ.get("CI"), reason="make .venv-clients/done installs the clients"
)
needs_node = pytest.mark.skipif(
    not (shutil.which("npm") and shutil.which("node")) and not os.environ.get("CI"),
    reason="Node isn't installed",
)


class Script:
    """A running script: a context manager, and an iterator over what it prints."""

    def __init__(self, command: list[str], cwd: Path | None = None, **environment: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed in __exit__
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTHONUNBUFFERED": "1", **environment},
        )
        self._limit = threading.Timer(LIMIT_S, self._process.kill)
        self._limit.start()

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *raised: object) -> None:
        self._limit.cancel()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def __iter__(self) -> Iterator[Any]:
        return map(json.loads, self._process.stdout)

    def tell(self, line: str) -> None:
        """Write a line to the script's standard input."""
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def finish(self) -> list[Any]:
        """The rest of what it prints. Fails with its standard error unless it exits with 0."""
        printed = list(self)
        if self._process.wait():
            self._errors.seek(0)
            pytest.fail(f"exit status {self._process.returncode}: {self._errors.read()[-4000:]}")
        return printed


def start(name: str, *arguments: object) -> Script:
    """Start `tests/clients/<name>.py` with the Python of `.venv-clients`."""
    return Script([str(PYTHON), str(SCRIPTS / f"{name}.py"), *map(str, arguments)])


def run(name: str, *arguments: object) -> list[Any]:
    """Run `tests/clients/<name>.py` to its end; the values that it prints."""
    with start(name, *arguments) as script:
        return script.finish()


def npm_install(folder: Path, *packages: str) -> Path:
    """Install npm packages, each `<name>@<version>`, into `folder`."""
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, f"npm can't install {packages}: {done.stderr[-1000:]}"
    return folder


def run_node(folder: Path, name: str, *arguments: object, **environment: str) -> list[Any]:
    """Run `tests/clients/<name>.mjs` with the packages of `folder`; the values that it prints.

    The script finds a package with `createRequire(`${process.cwd()}/`)`.
    """
    command = ["node", "--experimental-websocket", str(SCRIPTS / f"{name}.mjs"), *map(str, arguments)]
    with Script(command, cwd=folder, **environment) as script:
        return script.finish()
