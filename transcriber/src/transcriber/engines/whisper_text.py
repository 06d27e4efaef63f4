"""Rules shared by the Whisper engines: words of a text, plausibility, length of the context. Pure.

The thresholds of plausibility are those of openai-whisper's `transcribe`.
"""

import math
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.transcript import UNSPACED
from transcriber.engines.base import Hypothesis, Window, Word
from transcriber.engines.guards import MAX_COMPRESSION, compression, truncate_repetition
from transcriber.engines.whisper_attempts import FULL_CONTEXT_S

NO_SPEECH: Final = 0.5  # a window is silent if the probability of silence is above this …
SURE_LOGPROB: Final = -0.4  # … and the mean log-probability of the text is below this
WORST_LOGPROB: Final = -1.0  # below this mean log-probability a text isn't plausible
MARGIN_S: Final = 1  # least silence at the end of a shorter context
STEP_S: Final = 5  # contexts are multiples of this, so that few different lengths occur


def context_s(window: Window) -> int | None:
    """Seconds of context in which a partial is encoded; None for the full context, as finals need."""
    if window.final:
        return None
    seconds = math.ceil((len(window.samples) / SAMPLE_RATE + MARGIN_S) / STEP_S) * STEP_S
    return seconds if seconds < FULL_CONTEXT_S else None


def parts_of(text: str, language: str | None) -> list[str]:
    """The words of `text`, or its characters in a language without spaces."""
    return [c for c in text if not c.isspace()] if language in UNSPACED else text.split()


def words_of(text: str, language: str | None) -> tuple[Word, ...]:
    """The parts of `text` as words. A repetition at the end is cut."""
    parts = parts_of(text, language)
    numbers = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    kept = truncate_repetition([numbers[part] for part in parts])
    return tuple(Word(part) for part in parts[: len(kept)])


def is_plausible(text: str, avg_logprob: float) -> bool:
    """Whether a result is plausible: probable enough, and without much repetition."""
    return avg_logprob >= WORST_LOGPROB and compression(text) <= MAX_COMPRESSION


def plausibility(text: str, avg_logprob: float) -> tuple[bool, float]:
    """A key that orders results: without much repetition before repetitive ones, then by probability."""
    return compression(text) <= MAX_COMPRESSION, avg_logprob


def is_silent(no_speech_prob: float, avg_logprob: float) -> bool:
    """Whether Whisper's own probabilities say that the window holds no speech.

    The limits are stricter than those of openai-whisper (0.6 and -1.0), with which silence, tones and noise
    give "you" or "Thank you.": tiny.en gives them 0.5 to 0.9 and -0.5 to -1.2, and read speech at most 0.27.
    """
    return no_speech_prob > NO_SPEECH and avg_logprob < SURE_LOGPROB


def empty_hypothesis(language: str | None, reason: str) -> Hypothesis:
    """A hypothesis without words."""
    return Hypothesis((), language, None, reason)
