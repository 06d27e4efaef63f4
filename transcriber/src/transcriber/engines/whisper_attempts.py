"""The decodes of a window that Whisper may need: a cheap one first, others while its result is implausible.

Pure.

Whisper was trained on windows of 30 s, and its encoder costs the same for any speech in them. A shorter
context holds the speech and some silence: it costs as much less as it is shorter, and most windows give the
same text. What isn't plausible there is decoded again in 30 s.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from transcriber.engines.base import Window

FULL_CONTEXT_S: Final = 30  # the context that Whisper was trained on
MARGIN_S: Final = 1.0  # least silence at the end of a shorter context
STEP_S: Final = 1  # contexts are multiples of this, so that windows of a batch often have the same
BEAM: Final = 5
TEMPERATURES: Final = (0.2, 0.4, 0.6, 0.8, 1.0)  # tried in order while a final isn't plausible
SAMPLES: Final = 5  # texts sampled at a temperature, of which the most probable is taken


@dataclass(frozen=True, slots=True)
class Attempt:
    """One decode. `context_s`: seconds of audio and silence encoded. `beam`: 1 for greedy decoding."""

    context_s: int
    beam: int = 1
    temperature: float = 0.0


def attempts(window: Window) -> Iterator[Attempt]:
    """The decodes of a window in their order; the result of the last one counts whatever it is."""
    short = short_context_s(window)
    if not window.final:
        yield Attempt(short)
        if short < FULL_CONTEXT_S:
            yield Attempt(FULL_CONTEXT_S)
        return
    yield Attempt(short, beam=BEAM)
    if short < FULL_CONTEXT_S:
        yield Attempt(FULL_CONTEXT_S, beam=BEAM)
    if window.redecode:
        for temperature in TEMPERATURES:
            yield Attempt(FULL_CONTEXT_S, temperature=temperature)


def short_context_s(window: Window) -> int:
    """Seconds of the shortest context that holds the window and a margin."""
    needed = len(window.samples) / SAMPLE_RATE + MARGIN_S
    return min(FULL_CONTEXT_S, math.ceil(needed / STEP_S) * STEP_S)
