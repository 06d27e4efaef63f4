"""A recogniser that fails on one word, and dies of another. STT_ENGINE=support.poison:engine."""

import os
from collections.abc import Sequence
from typing import Any

from parlando.errors import EngineError
from support.perfect import PerfectEngine, word
from transcriber.engines.base import Hypothesis, Window

FAILS = word(666)
KILLS = word(999)


class PoisonedEngine(PerfectEngine):
    """Perfect otherwise."""

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """The words of each window, if it can."""
        heard = super().transcribe(windows)
        said = {word.text for hypothesis in heard for word in hypothesis.words}
        if KILLS in said:
            os._exit(1)
        if FAILS in said:
            raise EngineError("word 666 is too much")
        return heard


def engine(settings: Any) -> PoisonedEngine:
    """The factory that STT_ENGINE names."""
    return PoisonedEngine()
