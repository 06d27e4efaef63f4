"""The interface between the worker and the speech recognition engines.

An engine turns windows of audio into hypotheses; it depends on neither sessions nor Redis nor the clock.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from parlando.domain.audio import Float32
from parlando.domain.transcript import bare


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a hypothesis.

    `start` and `end`: seconds of the window; None where they weren't requested or the engine has none.
    `tokens`: the engine's own ids of the word, used only by that engine, for prefixes and drafts.
    """

    text: str
    start: float | None = None
    end: float | None = None
    probability: float | None = None
    tokens: tuple[int, ...] = ()


def dump_words(words: Sequence[Word]) -> list[dict[str, Any]]:
    """Words as JSON-able values."""
    return [asdict(word) for word in words]


def load_words(words: Sequence[dict[str, Any]]) -> tuple[Word, ...]:
    """The words that `dump_words` wrote."""
    return tuple(Word(**{**word, "tokens": tuple(word["tokens"])}) for word in words)


def with_first_as(words: tuple[Word, ...], text: str) -> tuple[Word, ...]:
    """`words` whose first one begins with a small letter if it is the word `text`, and that one does."""
    first = words[0].text if words else ""
    if bare(first) != bare(text) or first[:1].lower() != text[:1]:
        return words
    return (replace(words[0], text=text[:1] + first[1:]), *words[1:])


@dataclass(frozen=True, slots=True)
class Window:
    """Audio to decode, and the options of the decode.

    `samples`: float32 of shape (n,), 16 kHz, in [-1, 1).
    `context`: final words of the first `context_samples` samples, which belong to earlier segments; the
    hypothesis and its times begin behind these samples. Only where `info.context_s` is not 0.
    `lead_samples`: samples of the segment before its speech, of which an engine may leave out some, and with
    them the context in a final's first decode; 0 if it may not, or if their number is unknown.
    `tells_sentence`: whether to tell if the segment goes on the context's last sentence, and to write its
    first word so; else it is written as the first of a sentence.
    `prefix`: words already committed; the hypothesis begins with them where `info.primes`.
    `draft`: the previous hypothesis behind the prefix, which some engines verify faster than they decode.
    `language`: None to detect it, among `languages` if any are given (ISO 639-1).
    `task`: one of `EngineInfo.tasks`; for `detect_language`, the hypothesis has a language and no words.
    `prompt`: text that precedes the window. `hotwords`: names and terms that may be spoken.
    `words`: whether word times are requested.
    `voiced_s`: seconds of the window that the voice detector classified as speech.
    `redecode`: whether the engine may decode the window several times in this call to improve the result.
    `earlier`: the best hypothesis of `attempt` earlier calls with this window, if it is
    `Hypothesis.improvable`. The result is the better one of it and a hypothesis decoded in another way.
    """

    samples: Float32
    context: tuple[Word, ...] = ()
    context_samples: int = 0
    lead_samples: int = 0
    tells_sentence: bool = False
    prefix: tuple[Word, ...] = ()
    draft: tuple[Word, ...] = ()
    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str = ""
    hotwords: str = ""
    task: str = "transcribe"
    words: bool = False
    final: bool = False
    voiced_s: float = 0.0
    redecode: bool = True
    earlier: "Hypothesis | None" = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An engine's result for a window.

    `confidence`: in [0, 1]. `reason`: why there are no words: `no_speech`, `suppressed` or `too_short`.
    `language_probability`: of a detected language, in [0, 1]; None if the window gave the language or the
    engine doesn't detect it. `improvable`: whether a further call with the window (`Window.earlier`) may give
    a better one. `goes_on`: whether its first word goes on the context's last sentence; None if unknown.
    """

    words: tuple[Word, ...]
    language: str | None = None
    confidence: float | None = None
    reason: str | None = None
    language_probability: float | None = None
    improvable: bool = False
    goes_on: bool | None = None

    @property
    def text(self) -> str:
        """The words as one line."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The capabilities of an engine; the worker adapts to them.

    `languages`: ISO 639-1 codes, empty for any. `tasks`: of `transcribe`, `translate` (to English) and
    `detect_language`. `max_window_s`: longest window in seconds.
    `batch`: largest useful number of windows in one call (1: batching brings no gain).
    `primes`: honours `Window.prefix`. `context_s`: seconds of earlier segments that improve the result.
    `metered`: every window costs money, so only finals are decoded (see `Engine.billed_s`).
    `concurrent`: may decode chunks of jobs in one thread while it decodes live windows in another.
    `parallel`: calls that may run at the same time, each in its own thread, such as requests to a server.
    `improves`: hypotheses may be `improvable`, so that finals needn't be decoded several times in one call.
    """

    name: str
    model: str
    languages: frozenset[str]
    tasks: frozenset[str]
    max_window_s: float
    batch: int
    word_times: bool
    primes: bool
    context_s: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    metered: bool = False
    concurrent: bool = False
    parallel: int = 1
    improves: bool = False


class Engine(Protocol):
    """The base class of engines.

    Its calls block. It is used from one thread at a time, unless `info.concurrent` or `info.parallel` allow
    more.
    """

    info: EngineInfo

    billed_s: float = 0.0
    """Seconds of audio billed to this process so far; 0 for an engine that costs nothing."""

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """One hypothesis per window, in the same order. Raises `EngineError` for the batch as a whole."""
        ...
