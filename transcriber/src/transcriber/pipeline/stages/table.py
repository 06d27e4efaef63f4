"""The table of stages. A new one is a file in this folder and a line here."""

from collections.abc import Callable, Sequence
from typing import Final

from parlando import plugins
from transcriber.pipeline.stages.base import Stage

STAGES: Final[tuple[Callable[[], Stage], ...]] = ()
"""What makes each stage, in the order in which they see a segment."""


def load(further: Sequence[str] = ()) -> list[Stage]:
    """The stages of the table, and those that `package.module:Class` name.

    Raises
    ------
    PluginError

    """
    stages = [make() for make in STAGES]
    for place in further:
        made = plugins.load(place)()
        if not isinstance(made, Stage):
            raise plugins.PluginError(f"{place}: expected a subclass of Stage")
        stages.append(made)
    return stages
