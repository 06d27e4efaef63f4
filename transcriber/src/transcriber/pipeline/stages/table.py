"""The table of stages. To add a stage, add a file to this folder and a line here."""

from collections.abc import Callable, Sequence
from typing import Final

from parlando import plugins
from transcriber.pipeline.stages.base import Stage
from transcriber.pipeline.stages.speakers import SpeakersStage

STAGES: Final[tuple[Callable[[], Stage], ...]] = (SpeakersStage,)
"""The factories of the stages, in the order in which they process a segment."""


def load(further: Sequence[str] = ()) -> list[Stage]:
    """The stages of the table, then those named by `further` as `package.module:Class`.

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
