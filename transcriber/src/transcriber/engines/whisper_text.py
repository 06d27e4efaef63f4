"""Text of Whisper's kind as words, the rules by which it's believed, the context it's heard in. Pure.

Thresholds are those of openai-whisper's `transcribe`.
"""

import math
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.transcript import UNSPACED
from transcriber.engines.base import Hypothesis, Window, Word
from transcriber.engines.guards import MAX_COMPRESSION, compression, cut_loop

NO_SPEECH: Final = 0.6  # probability of silence …
WORST_LOGPROB: Final = -1.0  # … that counts if the mean log-probability is below this
TEMPERATURES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # tried in turn while a final isn't believable
WHOLE_S: Final = 30  # the context that Whisper was trained on
MARGIN_S: Final = 1  # silence that a shorter one ends in, at least
STEP_S: Final = 5  # contexts are multiples of it, so that a window's is always the same


def context_s(window: Window) -> int | None:
    """Seconds of context that a partial is heard in; None for the whole one, as finals want it."""
    if window.final:
        return None
    seconds = math.ceil((len(window.samples) / SAMPLE_RATE + MARGIN_S) / STEP_S) * STEP_S
    return seconds if seconds < WHOLE_S else None


def words_of(text: str, language: str | None) -> tuple[Word, ...]:
    """The words of a line; characters where a language has no spaces. A loop at the end is cut."""
    parts = [c for c in text if not c.isspace()] if language in UNSPACED else text.split()
    numbers = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    kept = cut_loop([numbers[part] for part in parts])
    return tuple(Word(part) for part in parts[: len(kept)])


def believable(text: str, avg_logprob: float) -> bool:
    """Whether a decoding needs no second try at a higher temperature."""
    return avg_logprob >= WORST_LOGPROB and compression(text) <= MAX_COMPRESSION


def silent(no_speech_prob: float, avg_logprob: float) -> bool:
    """Whether Whisper itself says that nobody spoke."""
    return no_speech_prob > NO_SPEECH and avg_logprob < WORST_LOGPROB


def nothing(language: str | None, reason: str) -> Hypothesis:
    """A hypothesis without words."""
    return Hypothesis((), language, None, reason)
