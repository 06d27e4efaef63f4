"""The table of steps. To add a step, add a file to this folder and a line here."""

from collections.abc import Sequence
from typing import Final

from analyzer.resources import Resources
from analyzer.steps.actions import Actions
from analyzer.steps.base import Step
from analyzer.steps.entities import Entities
from analyzer.steps.insights import InsightStep
from analyzer.steps.key_sentences import KeySentences
from analyzer.steps.keywords import Keywords
from analyzer.steps.language import Language
from analyzer.steps.questions import Questions
from analyzer.steps.sentiment import Sentiment
from analyzer.steps.summary import Summary
from analyzer.steps.topics import Topics
from analyzer.steps.translation import Translation
from parlando import plugins

STEPS: Final[tuple[type[Step], ...]] = (
    Translation,
    Entities,
    Language,
    Topics,
    Sentiment,
    Summary,
    KeySentences,
    Keywords,
    InsightStep,
    Questions,
    Actions,
)


def load(resources: Resources, further: Sequence[str] = ()) -> list[Step]:
    """The steps of the table, then those named by `further` as `package.module:Class`.

    Raises
    ------
    PluginError

    """
    steps = [make(resources) for make in STEPS]
    for place in further:
        made = plugins.load(place)
        if not (isinstance(made, type) and issubclass(made, Step)):
            raise plugins.PluginError(f"{place}: expected a subclass of Step")
        steps.append(made(resources))
    return steps
