"""Which TCP ports of this machine a cluster uses; two clusters that start together get different ones."""

import fcntl
import os
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from parlando.embedded.redis_server import free_port, is_free
from parlando.errors import ParlandoError

TRIED: Final = 200
"""Ports that are tried, from the usual one on."""


class PortReservations:
    """Ports that this process has chosen for its services. Use as a context manager.

    A port is free between its choice and the start of its service. So that no other cluster of this user
    chooses it meanwhile, each port has a locked file in `folder` until the end of the context.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"parlando-ports-{os.getuid()}"
        self._locks = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            # Its owner could have put links to our files there, which opening would empty.
            raise ParlandoError(f"{self._folder} belongs to another user; delete it, or set TMPDIR")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._locks.close()

    def take(self, port: int) -> bool:
        """Reserve a port; returns whether it is free."""
        lock = (self._folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        if not is_free(port):
            lock.close()
            return False
        self._locks.enter_context(lock)
        return True

    def choose(self, usual: int) -> int:
        """Reserve the usual port or, if another process has it, the next free one. Returns the port."""
        for port in range(usual, min(usual + TRIED, 65_536)):
            if self.take(port):
                return port
        raise ParlandoError(f"None of the ports {usual} to {usual + TRIED - 1} is free; stop what uses them")

    def any(self) -> int:
        """Reserve any free port. Returns it."""
        while not self.take(port := free_port()):
            pass
        return port

    def require(self, port: int, setting: str) -> int:
        """Reserve the port that a setting names. Raises `ParlandoError` if another process has it."""
        if not self.take(port):
            raise ParlandoError(
                f"{setting}={port}, and another process on this machine uses that port; end it, choose "
                f"another port, or remove {setting} to have a free one chosen"
            )
        return port
