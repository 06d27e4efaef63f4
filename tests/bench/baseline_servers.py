"""Starts and stops the processes of the baseline (see `bench.baseline`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support.ports import free_port


@contextmanager
def servers(count: int) -> Iterator[tuple[list[int], list[int]]]:
    """The ports and process ids of `count` baseline servers."""
    ports, running = [free_port() for _ in range(count)], []
    try:
        for port in ports:
            command = [sys.executable, "-m", "bench.baseline", str(port)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
        for server in running:
            assert server.stdout is not None
            server.stdout.readline()
        yield ports, [server.pid for server in running]
    finally:
        for server in running:
            server.kill()
            server.wait()
