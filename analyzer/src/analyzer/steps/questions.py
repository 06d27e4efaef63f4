"""The step `questions`: the sentences that ask something."""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from analyzer.document import Document
from analyzer.sentences import Piece, batches, sentences
from analyzer.steps.base import Progress, Step, StepOptions

BATCH: Final = 20_000  # characters that are examined together, in a few milliseconds
MAX_QUESTIONS: Final = 5000

_PUNCTUATED: Final = re.compile(r"[.!?…]")
_INTERROGATIVE: Final = re.compile(
    r"(?:(?:and|but|so|okay|well|now|sorry)\s+)?(?:"
    r"(?:who|what|when|where|why|whose|which|how)(?:'s|'re|\s+(?:is|are|was|were|do|does|did|can|could|will|would|"
    r"should|shall|have|has|had|about|many|much|long|often|far|old|come|kind|time|else))\b"
    r"|(?:is|are|was|were|do|does|did|can|could|will|would|should|shall|have|has|may|isn't|aren't|don't|didn't|"
    r"can't|won't|wouldn't|haven't)\s+(?:i|you|we|they|he|she|it|there|this|that|anyone|anybody|somebody)\b)",
    re.IGNORECASE,
)


class Questions(Step):
    """`{"questions": [{text, segment, start}]}`. `start`: second of the audio, estimated inside a segment.

    At most 5,000 questions.
    """

    name: ClassVar[str] = "questions"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})
    live: ClassVar[bool] = True

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for batch in batches(sentences(document.passages), BATCH):
            found += await self.resources.compute(questions, batch)
            del found[MAX_QUESTIONS:]
            await progress({"questions": list(found)})
        return {"questions": found}


def questions(parts: Iterable[Piece]) -> list[dict[str, Any]]:
    """The questions among some sentences."""
    return [
        {"text": part.text, "segment": part.passage.segment, "start": part.start}
        for part in parts
        if is_question(part.text, punctuated=bool(_PUNCTUATED.search(part.passage.text)))
    ]


def is_question(sentence: str, *, punctuated: bool = True) -> bool:
    """Whether it ends with a question mark or, in a text without punctuation, begins like a question."""
    if sentence.rstrip("\"'”’)").endswith(("?", "？")):
        return any(character.isalnum() for character in sentence)
    return not punctuated and _INTERROGATIVE.match(sentence) is not None
