"""TCP ports for servers under test.

They lie below the ports that Linux gives to connections and to servers that bind port 0 (32768 and above),
so none of these can take a port between its choice and its use. Each process of pytest has its own range, and
a locked file for each port that it has chosen lately, so that another run of the tests on this machine
doesn't choose it meanwhile.
"""

import os
import random
import tempfile
from collections import deque
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final

from parlando.embedded.ports import PortReservations
from parlando.embedded.redis_server import is_free

FIRST: Final = 11_000
RANGE: Final = 2_000  # ports of one process
PROCESSES: Final = 5
BUS: Final = 10_000
"""Distance of a port of Redis Cluster to its bus port."""

FOLDER: Final = Path(tempfile.gettempdir()) / f"parlando-test-ports-{os.getuid()}"
"""Not that of `parlando up`, which shall be able to use a port that a test has chosen for it."""
KEPT: Final = 50
"""Ports that stay reserved: a server starts long before so many others were chosen."""

_kept: deque[ExitStack] = deque()
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
_next = count(random.randrange(RANGE))


def free_port() -> int:
    """A free port of the loopback interface, whose bus port is free too; not given again soon."""
    for _ in range(RANGE):
        port = FIRST + _process * RANGE + next(_next) % RANGE
        if is_free(port + BUS) and _reserve(port):
            return port
    raise RuntimeError("No port is free")


def _reserve(port: int) -> bool:
    """Keep other processes from choosing the port. Returns whether it is free."""
    reservation = ExitStack()
    if not reservation.enter_context(PortReservations(FOLDER)).take(port):
        reservation.close()
        return False
    _kept.append(reservation)
    if len(_kept) > KEPT:
        _kept.popleft().close()
    return True
