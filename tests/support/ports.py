"""TCP ports for servers under test.

They lie below the ports that Linux gives to connections and to servers that bind port 0 (32768 and above),
so none of these can take a port between its choice and its use. Each process of pytest has its own range.
"""

import os
import random
from itertools import count
from typing import Final

from parlando.embedded.redis_server import is_free

FIRST: Final = 11_000
RANGE: Final = 2_000  # ports of one process
PROCESSES: Final = 5
BUS: Final = 10_000
"""Distance of a port of Redis Cluster to its bus port."""

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
_next = count(random.randrange(RANGE))


def free_port() -> int:
    """A free port of the loopback interface, whose bus port is free too; not given again soon."""
    for _ in range(RANGE):
        port = FIRST + _process * RANGE + next(_next) % RANGE
        if is_free(port) and is_free(port + BUS):
            return port
    raise RuntimeError("No port is free")
