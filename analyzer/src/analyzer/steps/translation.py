"""The text in another language: by a local model, a language model, or the speech engine (into English)."""

from typing import Any, Final

from pydantic import Field

from analyzer.document import Document, Passage
from analyzer.language_model import Answer, LanguageModel
from analyzer.models.translation_model import TranslationModel
from analyzer.pieces import lines_of, pieces_of
from analyzer.steps.base import Progress, Step, StepOptions, StepUnavailableError

LINES: Final = 4  # that a local model translates in one turn


class TranslatedLines(Answer):
    """The answer: a translation of each line."""

    translations: list[str] = Field(description="The translation of each line, in the same order")


class Translation(Step):
    """See the module. Never invents a text: without any of these it is unavailable."""

    name = "translation"

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        """See `Step.run`."""
        target = options.target_language
        if document.language == target:
            lines = [passage.text for passage in document.passages]
            return _result(document, lines, target, by="none: the text is in this language already")
        local = await self.resources.translation_model(document.language, target)
        if local is not None:
            return await self._locally(local, document, target, progress)
        if (model := self.resources.language_model) is not None:
            return await self._by_language_model(model, document, target, progress)
        lines = [passage.translations.get(target, "") for passage in document.passages]
        if any(lines):
            return _result(document, lines, target, by="speech engine")
        raise StepUnavailableError(
            "no model configured: set LLM_MODEL (and LLM_BASE_URL) or TRANSLATION_MODEL, or for English run "
            "a multilingual Whisper model, whose engine translates"
        )

    async def _locally(
        self, model: TranslationModel, document: Document, target: str, progress: Progress
    ) -> dict[str, Any]:
        done: list[str] = []
        for at in range(0, len(document.passages), LINES):
            piece = [passage.text for passage in document.passages[at : at + LINES]]
            done += await self.resources.compute(model, piece)
            await progress({"translation": " ".join(done), "is_final": False})
        return _result(document, done, target, by="local model")

    async def _by_language_model(
        self, model: LanguageModel, document: Document, target: str, progress: Progress
    ) -> dict[str, Any]:
        usage = model.usage()
        done: list[str] = []

        async def partly(found: dict[str, Any]) -> None:
            lines = [str(line) for line in found.get("translations") or ()]
            await progress({"translation": " ".join([*done, *lines]), "is_final": False})

        for piece in pieces_of(document.passages, model.piece_chars):
            answer = await model.answer(
                TranslatedLines,
                f"Translate each of the {len(piece)} lines into the language with the ISO 639 code {target}. "
                "Keep names and numbers.",
                {"lines": lines_of(piece)},
                usage,
                partly,
                lambda answer, piece=piece: _mismatch(answer, piece),  # type: ignore[misc]
            )
            done += answer.translations
        return _result(document, done, target, by="language model") | {"usage": usage.document}


def _mismatch(answer: TranslatedLines, piece: list[Passage]) -> str | None:
    if len(answer.translations) == len(piece):
        return None
    return f"it translated {len(piece)} lines into {len(answer.translations)}"


def _result(document: Document, lines: list[str], target: str, *, by: str) -> dict[str, Any]:
    return {
        "language": target,
        "translation": " ".join(line for line in lines if line),
        "segments": [
            {"segment": passage.segment, "text": line}
            for passage, line in zip(document.passages, lines, strict=True)
            if line
        ],
        "by": by,
    }
