"""A perfect engine of three languages. It detects them, and mishears what isn't in the language it is told.

The audio is that of `perfect.speak`; a word's number says in which language it is: `number(language, n)`. Of
words from `number(language, UNCLEAR)` on, the language can only be guessed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from support.perfect import PerfectEngine, word
from transcriber.engines.base import Hypothesis, Window, Word

POLYGLOT = {"STT_ENGINE": "support.polyglot:engine", "VAD": "rms"}  # for a Cluster
OBEDIENT = {**POLYGLOT, "STT_ENGINE": "support.polyglot:obedient"}
WIDE = {**POLYGLOT, "STT_ENGINE": "support.polyglot:wide"}
LANGUAGES = ("en", "de", "fr")
UNCLEAR = 50
_EACH = 100


def number(language: str, count: int) -> int:
    """The number of a language's word."""
    return LANGUAGES.index(language) * _EACH + count


def text(language: str, first: int, count: int) -> str:
    """The transcript of a language's words."""
    return " ".join(word(number(language, first + at)) for at in range(count))


def english(language: str, first: int, count: int) -> str:
    """Their translation."""
    return text(language, first, count).upper()


class PolyglotEngine(PerfectEngine):
    """See the module. `windows`: all windows so far."""

    def __init__(self, *, batch: int = 1) -> None:
        super().__init__(batch=batch)
        tasks = frozenset({"transcribe", "translate", "detect_language"})
        self.info = replace(self.info, name="polyglot", languages=frozenset(LANGUAGES), tasks=tasks)
        self.windows: list[Window] = []

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """The words of each window, in capitals as their translation."""
        self.windows += windows
        return [self._hear(window) for window in windows]

    def _hear(self, window: Window) -> Hypothesis:
        [plain] = PerfectEngine.transcribe(self, [replace(window, task="transcribe")])
        numbers = [int(word.text[1:]) for word in plain.words if word.text.startswith("w")]
        if not numbers:
            language, probability = (window.languages or LANGUAGES)[0], 0.3
        else:
            language = LANGUAGES[numbers[-1] // _EACH]
            probability = 0.4 if numbers[-1] % _EACH >= UNCLEAR else 0.9
            if window.languages and language not in window.languages:
                language, probability = window.languages[0], 0.4
        wrong = window.language is not None and window.language != language
        words = plain.words
        if wrong:
            words = tuple(replace(word, text=f"{window.language}-{word.text}") for word in words)
        elif window.task == "translate":
            words = tuple(replace(word, text=word.text.upper()) for word in words)
        return Hypothesis(
            () if window.task == "detect_language" else words,
            window.language or language,
            0.2 if wrong else 0.95,
            plain.reason,
            None if window.language else probability,
        )


def engine(settings: Any) -> PolyglotEngine:
    """The factory that STT_ENGINE names."""
    return PolyglotEngine()


class ObedientEngine(PolyglotEngine):
    """Mishears what is spoken in another language than the one that it is told."""

    def _hear(self, window: Window) -> Hypothesis:
        found = super()._hear(window)
        [plain] = PerfectEngine.transcribe(self, [replace(window, task="transcribe")])
        numbers = [int(word.text[1:]) for word in plain.words if word.text.startswith("w")]
        told = window.language
        if not numbers or told in (None, LANGUAGES[numbers[-1] // _EACH]):
            return found
        misheard = tuple(replace(word, text=f"{told}-{word.text}") for word in plain.words)
        return replace(found, words=misheard)


def obedient(settings: Any) -> ObedientEngine:
    """The factory that STT_ENGINE names."""
    return ObedientEngine()


class WideEngine(ObedientEngine):
    """Can be told some more languages, which aren't spoken: Norwegian, Hebrew and Tagalog."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, languages=self.info.languages | {"no", "he", "tl"})


def wide(settings: Any) -> WideEngine:
    """The factory that STT_ENGINE names."""
    return WideEngine()


class GermanEngine(PolyglotEngine):
    """Takes all speech for the same two words of German."""

    def _hear(self, window: Window) -> Hypothesis:
        words = (Word("Hallo"), Word("Welt")) if window.task != "detect_language" else ()
        return Hypothesis(words, "de", 0.95, None, None if window.language else 0.9)


def german(settings: Any) -> GermanEngine:
    """The factory that STT_ENGINE names."""
    return GermanEngine()
