"""Threads for work that nobody waits for: the machine's other work goes first."""

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

NICE: Final = 10


def yield_to_others(pid: int = 0) -> None:
    """Give a process, or this thread, a lower priority (on Linux; elsewhere a thread has none of its own)."""
    if sys.platform == "linux":
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            os.setpriority(os.PRIO_PROCESS, pid or threading.get_native_id(), NICE)


def background_thread(name: str) -> ThreadPoolExecutor:
    """One thread that runs when others don't need the processor."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=yield_to_others)
