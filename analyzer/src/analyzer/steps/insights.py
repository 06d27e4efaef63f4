"""Insights: decisions, problems, requests and other findings, by a language model."""

from typing import Any, Final, Literal

from pydantic import Field

from analyzer.document import Document
from analyzer.language_model import Answer
from analyzer.pieces import lines_of, pieces_of
from analyzer.steps.base import Progress, Step, StepOptions

INSTRUCTIONS: Final = (
    "List what a reader of the transcript should know: decisions, problems, requests, facts. At most ten, "
    "the most important first, in the language of the transcript. Say only what is in it."
)
MOST: Final = 100


class Insight(Answer):
    """One finding."""

    kind: Literal["decision", "problem", "request", "fact"]
    text: str = Field(description="One sentence")


class Insights(Answer):
    """The answer."""

    insights: list[Insight]


class InsightStep(Step):
    """See the module."""

    name = "insights"
    needs_language_model = True

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        """See `Step.run`."""
        model = self.language_model()
        usage = model.usage()
        found: list[dict[str, Any]] = []
        for piece in pieces_of(document.passages, model.piece_chars):
            answer = await model.answer(Insights, INSTRUCTIONS, {"transcript": lines_of(piece)}, usage)
            found += [insight.model_dump() for insight in answer.insights]
            await progress({"insights": found[:MOST], "is_final": False})
        return {"insights": found[:MOST], "usage": usage.document}
