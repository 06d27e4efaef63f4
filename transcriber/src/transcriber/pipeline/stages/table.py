"""The table of stages. To add a stage, add a file to this folder and a line here."""

from collections.abc import Callable
from typing import Final

from parlando import plugins
from transcriber.pipeline.stages.base import Stage
from transcriber.pipeline.stages.speakers import SpeakersStage
from transcriber.settings import TranscriberSettings

STAGES: Final[tuple[Callable[[TranscriberSettings], Stage], ...]] = (
    lambda settings: SpeakersStage(settings.speaker_wait_s),
)
"""The factories of the stages, in the order in which they process a segment."""


def load(settings: TranscriberSettings) -> list[Stage]:
    """The stages of the table, then those that `STAGES` names as `package.module:Class`.

    Raises
    ------
    PluginError

    """
    stages = [make(settings) for make in STAGES]
    for place in settings.stages:
        made = plugins.load(place)()
        if not isinstance(made, Stage):
            raise plugins.PluginError(f"{place}: expected a subclass of Stage")
        stages.append(made)
    return stages
