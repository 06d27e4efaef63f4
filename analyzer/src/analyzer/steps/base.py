"""Base class of steps.

A step is one file: a subclass of `Step`, and a line in `table.py` or in the setting ANALYSIS_STEPS. It gets
the text and returns its result as a JSON object. It must not keep anything between two calls.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from analyzer.document import Document
from analyzer.language_model import LanguageModel
from analyzer.resources import Resources
from parlando.errors import ParlandoError

Progress = Callable[[dict[str, Any]], Awaitable[None]]
"""Called with a partial result, as often as the step likes; the caller limits the rate."""


class StepUnavailableError(ParlandoError):
    """Raised when a step can't be done here: no model is configured, or none for the text's language."""

    code = "unavailable"


class StepOptions(BaseModel):
    """What the client has asked for. `target_language`: ISO 639-1 code of the translation."""

    model_config = ConfigDict(frozen=True)

    target_language: str = "en"


class Step(ABC):
    """One step. Computations go to `resources.compute`, so that the event loop stays free."""

    name: ClassVar[str]
    """Lower-case letters, digits and `_`: the name in `analyze=`, and the kind of the annotation."""

    languages: ClassVar[frozenset[str]] = frozenset()
    """ISO 639-1 codes of the languages of the texts that it understands; empty for any."""

    live: ClassVar[bool] = False
    """Whether it can also process single segments of live sessions."""

    needs_language_model: ClassVar[bool] = False
    """Whether it needs the setting LLM_MODEL."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def language_model(self) -> LanguageModel:
        """The language model. Raises `StepUnavailableError` if none is configured."""
        if self.resources.language_model is None:
            raise StepUnavailableError("no model configured: set LLM_MODEL (and LLM_BASE_URL)")
        return self.resources.language_model

    @abstractmethod
    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        """The result, as a JSON object. `progress` gets partial results.

        Raises
        ------
        StepUnavailableError
            if there is no model for it.

        """
