"""A summary in the language of the text, by a language model."""

from typing import Any, Final

from pydantic import Field

from analyzer.document import Document
from analyzer.language_model import Answer, LanguageModel, Usage
from analyzer.pieces import lines_of, pieces_of
from analyzer.steps.base import Progress, Step, StepOptions

INSTRUCTIONS: Final = (
    "Summarise the transcript in its own language in at most five sentences, and list its main points. "
    "Say only what is in it."
)
TOGETHER: Final = (
    "These are summaries of consecutive parts of one transcript. Make one summary of at most eight "
    "sentences, in the same language, and one list of main points. Say only what is in them."
)


class Summarised(Answer):
    """The answer."""

    summary: str = Field(description="The summary")
    points: list[str] = Field(description="The main points, one sentence each")


class Summary(Step):
    """See the module. A long text is summarised in pieces, and then the summaries."""

    name = "summary"
    needs_language_model = True

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        """See `Step.run`."""
        model = self.language_model()
        usage = model.usage()

        async def partly(found: dict[str, Any]) -> None:
            await progress({"summary": str(found.get("summary") or ""), "is_final": False})

        pieces = list(pieces_of(document.passages, model.piece_chars))
        if len(pieces) == 1:
            answer = await model.answer(
                Summarised, INSTRUCTIONS, {"transcript": lines_of(pieces[0])}, usage, partly
            )
        else:
            parts = []
            for number, piece in enumerate(pieces, start=1):
                parts.append(
                    await model.answer(Summarised, INSTRUCTIONS, {"transcript": lines_of(piece)}, usage)
                )
                await progress({"parts_done": number, "parts": len(pieces), "is_final": False})
            answer = await _together(model, parts, usage)
            await partly(answer.model_dump())
        return {**answer.model_dump(), "usage": usage.document}


async def _together(model: LanguageModel, parts: list[Summarised], usage: Usage) -> Summarised:
    """One summary of many, in groups that fit into a request."""
    while len(parts) > 1:
        groups: list[list[Summarised]] = [[]]
        for part in parts:
            size = sum(len(each.model_dump_json()) for each in groups[-1])
            if len(groups[-1]) > 1 and size + len(part.model_dump_json()) > model.piece_chars:
                groups.append([])
            groups[-1].append(part)
        parts = [
            await model.answer(
                Summarised, TOGETHER, {"summaries": [part.model_dump() for part in group]}, usage
            )
            for group in groups
        ]
    return parts[0]
