"""The decodes of a window that Whisper may need: a cheap one first, others while its result is implausible.

Pure.

Whisper was trained on windows of 30 s, and its encoder costs the same for any speech in them. Encoding only
the speech costs as much less as it is shorter, but the decoder, which was trained to see silence up to 30 s,
repeats itself there. So states of silence follow those of the speech: the last ones of 30 s of silence,
encoded once (docs/performance.md has the measurements).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from transcriber.engines.base import Window

FULL_CONTEXT_S: Final = 30  # the context that Whisper was trained on
POSITIONS_PER_S: Final = 50  # states of the encoder
FULL_POSITIONS: Final = FULL_CONTEXT_S * POSITIONS_PER_S
MARGIN_S: Final = 0.2  # least silence that is encoded behind the speech
STEP_S: Final = 0.5  # contexts are multiples of this, so that windows of a batch often have the same
SILENCE: Final = 100  # least number of states of silence behind the context
STEP: Final = 250  # numbers of states are multiples of this, so that windows are decoded in one batch
BEAM: Final = 5
TEMPERATURES: Final = (0.2, 0.4, 0.6, 0.8, 1.0)  # tried in order while a final isn't plausible
SAMPLES: Final = 5  # texts sampled at a temperature, of which the most probable is taken


@dataclass(frozen=True, slots=True)
class Context:
    """The states that a decode attends to: of `seconds` of audio, then of silence, together `positions`."""

    seconds: float
    positions: int


FULL: Final = Context(FULL_CONTEXT_S, FULL_POSITIONS)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One decode. `beam`: 1 for greedy decoding."""

    context: Context
    beam: int = 1
    temperature: float = 0.0


def attempts(window: Window) -> Iterator[Attempt]:
    """The decodes of a window in their order, until the result of one is plausible."""
    short = short_context(window)
    if not window.final:
        yield Attempt(short)
        return
    yield Attempt(short, beam=BEAM)
    if not window.redecode:
        return
    if short != FULL:
        yield Attempt(FULL, beam=BEAM)
    for temperature in TEMPERATURES:
        yield Attempt(FULL, temperature=temperature)


def short_context(window: Window) -> Context:
    """The shortest context that holds the window, a margin, and states of silence."""
    needed_s = len(window.samples) / SAMPLE_RATE + MARGIN_S
    seconds = math.ceil(needed_s / STEP_S) * STEP_S
    positions = math.ceil((seconds * POSITIONS_PER_S + SILENCE) / STEP) * STEP
    return Context(seconds, positions) if positions < FULL_POSITIONS else FULL
