"""The thread in which voices are embedded: one for each process, with a low priority."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final

import structlog

from parlando.domain.audio import Float32
from transcriber.speakers.embedding import voice_model

NICENESS: Final = 5  # the engine goes first

log = structlog.get_logger(part="speakers")


def embedded(clip: Float32) -> "Future[Float32]":
    """The embedding of a clip, shape (192,), later; see `VoiceModel.embed`. It loads the model."""
    return _thread().submit(lambda: voice_model().embed([clip])[0])


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "speakers", initializer=_yield_to_others)


def _yield_to_others() -> None:
    """Lower this thread's priority: on Linux, a thread has its own."""
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        except OSError as error:
            log.info("speakers.priority_kept", error=str(error))
