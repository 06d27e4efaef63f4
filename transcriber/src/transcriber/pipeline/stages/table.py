"""The table of stages. To add a stage, add a file to this folder and a line here."""

import importlib
from collections.abc import Callable, Sequence
from typing import Final

from transcriber.pipeline.stages.base import Stage

STAGES: Final[tuple[Callable[[], Stage], ...]] = ()
"""The factories of the stages, in the order in which they process a segment."""


def load(further: Sequence[str] = ()) -> list[Stage]:
    """The stages of the table, then those named by `further` as `package.module:Class`.

    Raises
    ------
    ImportError, AttributeError

    """
    makers = list(STAGES)
    for place in further:
        module, _, name = place.partition(":")
        makers.append(getattr(importlib.import_module(module), name))
    return [make() for make in makers]
