"""The variants of a window's audio that Moonshine decodes, and their order. Pure.

Moonshine gives no words, or wrong ones, for some windows that it recognises when they are shifted, at another
level, or behind other audio. Measurements: docs/decisions/0003-moonshine.md.
"""

from dataclasses import dataclass
from typing import Final

from parlando.domain.audio import SAMPLE_RATE
from transcriber.engines.base import Window

LEAD: Final = SAMPLE_RATE * 4 // 10  # from so many samples before the speech on, some are left out
MIN_VOICED_S: Final = 0.5  # seconds of detected speech from which an empty final is decoded again


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of a window's audio to decode.

    `context`: whether the samples and words of earlier segments are included. `skip`: samples left out at
    the segment's beginning, if not. `peak`: peak level to scale to; 0 leaves the level unchanged. `padding`:
    samples of silence appended for a final.
    """

    context: bool = False
    skip: int = 0
    peak: float = 0.0
    padding: int = SAMPLE_RATE * 3 // 10


FIRST_VARIANT: Final = Variant(context=True, padding=SAMPLE_RATE * 8 // 10)
WITHOUT_LEAD: Final = Variant(skip=SAMPLE_RATE // 10, padding=SAMPLE_RATE // 5)
UNCERTAIN_FINAL_VARIANTS: Final = (
    Variant(skip=SAMPLE_RATE // 5, padding=SAMPLE_RATE * 8 // 10),
    Variant(peak=0.25),
)
WITH_CONTEXT_VARIANTS: Final = (FIRST_VARIANT, Variant(peak=0.25))
EMPTY_FINAL_VARIANTS: Final = (
    Variant(skip=SAMPLE_RATE * 3 // 10, padding=0),
    Variant(peak=0.25),
)
EMPTY_PARTIAL_VARIANTS: Final = (
    Variant(skip=SAMPLE_RATE * 3 // 10),
    Variant(skip=SAMPLE_RATE * 4 // 10),
)


def variants_of(window: Window) -> tuple[Variant, ...]:
    """The variants of a window to decode until one gives words."""
    has_lead = window.lead_samples >= LEAD
    if window.final:
        first = WITHOUT_LEAD if has_lead else FIRST_VARIANT
        return first, *(EMPTY_FINAL_VARIANTS if window.voiced_s >= MIN_VOICED_S else ())
    begins = has_lead and not (window.context or window.prefix or window.draft)
    variants = (() if begins else (FIRST_VARIANT,)) + EMPTY_PARTIAL_VARIANTS
    return variants if window.redecode else variants[:1]


def further_variants(window: Window) -> tuple[Variant, ...]:
    """The variants in which an uncertain final is decoded again."""
    without_context = window.lead_samples >= LEAD  # at first
    return WITH_CONTEXT_VARIANTS if without_context and window.context else UNCERTAIN_FINAL_VARIANTS
