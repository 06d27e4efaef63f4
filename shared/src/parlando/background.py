"""Low-priority threads and processes for background work."""

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

NICE: Final = 10


def yield_to_others(pid: int = 0) -> None:
    """Lower the priority of process `pid`, or of this thread if 0. Linux only; no effect elsewhere."""
    if sys.platform == "linux":
        with contextlib.suppress(ProcessLookupError):  # the process may have ended already
            os.setpriority(os.PRIO_PROCESS, pid or threading.get_native_id(), NICE)


def background_thread(name: str) -> ThreadPoolExecutor:
    """An executor with one thread of low priority."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=yield_to_others)
