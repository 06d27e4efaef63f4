"""The seam between the worker and whatever recognises speech.

An engine knows nothing of sessions, Redis or time: it gets windows and gives hypotheses.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from parlando.domain.audio import Float32


@dataclass(frozen=True, slots=True)
class Word:
    """One word as an engine heard it.

    `start` and `end` in seconds of the window, None where the engine wasn't asked or can't say.
    `tokens` are the engine's own ids for it, for priming and drafts; they mean nothing elsewhere.
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


@dataclass(frozen=True, slots=True)
class Window:
    """What an engine is asked to hear.

    `samples`: float32 of shape (n,), 16 kHz, in [-1, 1).
    `context`: settled words of the first `context_samples` samples, which belong to segments before;
    the hypothesis is of what lies behind them, its times too. Only where `info.context_s` is not 0.
    `prefix`: words already committed; the hypothesis begins with them where `info.primes`.
    `draft`: the previous hypothesis behind the prefix, for engines that can check it cheaply.
    `voiced_s`: how many seconds of the window the voice detector took for speech.
    `redecode`: whether a window may be heard several times to be surer of it.
    """

    samples: Float32
    context: tuple[Word, ...] = ()
    context_samples: int = 0
    prefix: tuple[Word, ...] = ()
    draft: tuple[Word, ...] = ()
    language: str | None = None
    prompt: str = ""
    task: str = "transcribe"
    words: bool = False
    final: bool = False
    voiced_s: float = 0.0
    redecode: bool = True


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine says of a window. Nothing in it is settled.

    `reason` says why there are no words: `no_speech`, `suppressed` or `too_short`.
    """

    words: tuple[Word, ...]
    language: str | None = None
    confidence: float | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """The words as one line."""
        return " ".join(word.text for word in self.words)


@dataclass(slots=True)
class Bill:
    """What an engine costs."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine can do; the worker adapts to it.

    `max_window_s`: longest window in seconds. `batch`: windows worth giving in one call (1: no gain).
    `parallel`: calls that may run at the same time, each in a thread of its own: requests to a server, say.
    `primes`: honours `Window.prefix`. `context_s`: seconds of earlier segments that help.
    `languages`: ISO 639-1 codes, empty for any. `metered`: every window costs money, so only finals are
    heard; `Bill.seconds` says how much was billed. `concurrent`: may hear chunks of jobs in one thread while
    it hears live windows in another.
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
    bill: Bill = field(default_factory=Bill)
    parallel: int = 1

    @property
    def billed_s(self) -> float:
        """Seconds of audio that the engine was billed for, in this process."""
        return self.bill.seconds


class Engine(Protocol):
    """Blocking; used from one thread at a time, unless `info.concurrent` or `info.parallel` say otherwise."""

    info: EngineInfo

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """One hypothesis per window, in the same order. Raises `EngineError`, never half a batch."""
        ...
