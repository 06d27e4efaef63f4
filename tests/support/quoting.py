"""An engine that says a given text: word for word what `speak` encodes, in place of numbers."""

from dataclasses import replace
from typing import Any

from support.perfect import PerfectEngine, script, speak
from transcriber.engines.base import Hypothesis, Window

MARKUP = "<img src=x onerror=alert(1)>"
TEXT = (
    f"😀 Ada Lovelace lives in London. {MARKUP} is here. "
    "Where is Charles Babbage? I will send you the report."
)
WORDS = TEXT.split()
_SAID = dict(zip(script(0, len(WORDS)), WORDS, strict=True))

QUOTING = {"STT_ENGINE": "support.quoting:engine", "VAD": "rms"}  # for a Cluster


def quoted() -> Any:
    """int16 audio of the text."""
    return speak(len(WORDS))


class QuotingEngine(PerfectEngine):
    """See the module."""

    def _transcribe(self, window: Window) -> Hypothesis:
        heard = super()._transcribe(window)
        return replace(heard, words=tuple(replace(w, text=_SAID.get(w.text, w.text)) for w in heard.words))


def engine(settings: Any) -> QuotingEngine:
    """The factory that STT_ENGINE names."""
    return QuotingEngine()
