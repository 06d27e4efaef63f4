"""A separate Redis for a test; at the end its keys must have a time to live."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from parlando.embedded.redis_server import command
from support.lifetimes import complain, staying
from support.ports import free_port


class RedisServer:
    """A Redis on a free port of this machine, in memory only unless `durable`."""

    def __init__(self, *, durable: bool = False, within: Path | None = None) -> None:
        self.port = free_port()
        self._durable = durable
        self._directory = tempfile.TemporaryDirectory(dir=within)
        self.folder = Path(self._directory.name)
        """Where it keeps its files."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            command(self.port, directory=self.folder, durable=self._durable),
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis.from_url(self.url)
        for _ in range(200):
            try:
                client.ping()
                return
            except redis.ConnectionError:  # also while it reads its append-only file
                time.sleep(0.02)
        raise RuntimeError("Redis didn't start")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, *, check: bool = True) -> None:
        """Stop the server. If `check`, fails when a key lacks a required time to live."""
        alive = self._process is not None and self._process.poll() is None
        left = staying(self.port) if alive and check else []
        self.kill()
        self._directory.cleanup()
        complain(left)
