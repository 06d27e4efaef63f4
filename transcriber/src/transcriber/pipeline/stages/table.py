"""The table of stages. A new one is a file in this folder and a line here."""

import importlib
from collections.abc import Callable, Sequence
from typing import Final

from transcriber.pipeline.stages.base import Stage

STAGES: Final[tuple[Callable[[], Stage], ...]] = ()
"""What makes each stage, in the order in which they see a segment."""


def load(further: Sequence[str] = ()) -> list[Stage]:
    """The stages of the table, and those that `package.module:Class` name.

    Raises
    ------
    ImportError, AttributeError

    """
    makers = list(STAGES)
    for place in further:
        module, _, name = place.partition(":")
        makers.append(getattr(importlib.import_module(module), name))
    return [make() for make in makers]
