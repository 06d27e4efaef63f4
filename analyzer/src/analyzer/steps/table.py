"""The steps that exist. Add a class here to add a step."""

from typing import Final

from analyzer.steps.actions import Actions
from analyzer.steps.base import Step
from analyzer.steps.entities import Entities
from analyzer.steps.key_sentences import KeySentences
from analyzer.steps.keywords import Keywords
from analyzer.steps.language import Language
from analyzer.steps.questions import Questions
from analyzer.steps.sentiment import Sentiment
from analyzer.steps.topics import Topics

STEPS: Final[tuple[type[Step], ...]] = (
    Entities,
    Topics,
    Sentiment,
    KeySentences,
    Keywords,
    Questions,
    Actions,
    Language,
)
