"""The step `language`: in which language a text is written.

py3langid (Lui & Baldwin 2012, "langid.py"; BSD-3-Clause) knows 140 languages. Two words don't suffice for it.
"""

from functools import cache
from typing import Any, ClassVar, Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from analyzer.document import Document
from analyzer.steps.base import Progress, Step, StepOptions
from parlando.domain.transcript import UNSPACED

MAX_CHARACTERS: Final = 5000  # of the text that are examined
FEWEST_WORDS: Final = 3
CHARACTERS_PER_WORD: Final = 2  # in languages written without spaces


class Language(Step):
    """`{"language": "en", "score": 0.98}`: ISO 639 code and probability; both None under three words."""

    name: ClassVar[str] = "language"

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        return await self.resources.compute(identified, excerpt(document))


def excerpt(document: Document) -> str:
    """The whole text, or equally spaced passages of it."""
    size = sum(len(passage.text) + 1 for passage in document.passages)
    every = -(-size // MAX_CHARACTERS) or 1
    return " ".join(passage.text for passage in document.passages[::every])[:MAX_CHARACTERS]


def identified(text: str) -> dict[str, Any]:
    """The language of a text."""
    language, score = _identifier().classify(text)
    if words(text, str(language)) < FEWEST_WORDS:
        return {"language": None, "score": None}
    return {"language": str(language), "score": round(float(score), 3)}


def words(text: str, language: str) -> int:
    """About how many words a text has."""
    if language in UNSPACED:
        return sum(character.isalnum() for character in text) // CHARACTERS_PER_WORD
    return len(text.split())


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
