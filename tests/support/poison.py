"""An engine that fails on one word, and ends its process on another. STT_ENGINE=support.poison:engine."""

import os
from collections.abc import Sequence
from typing import Any

from parlando.errors import EngineError
from support.perfect import PerfectEngine, word
from transcriber.engines.base import Hypothesis, Window

FAILS = word(666)
KILLS = word(999)


class PoisonedEngine(PerfectEngine):
    """Makes no mistakes on other words."""

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """The words of each window. Raises `EngineError` on the word `FAILS`."""
        hypotheses = super().transcribe(windows)
        texts = {word.text for hypothesis in hypotheses for word in hypothesis.words}
        if KILLS in texts:
            os._exit(1)
        if FAILS in texts:
            raise EngineError("word 666 is too much")
        return hypotheses


def engine(settings: Any) -> PoisonedEngine:
    """The factory that STT_ENGINE names."""
    return PoisonedEngine()
