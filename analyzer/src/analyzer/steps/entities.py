"""The step `entities`: names of people, organisations and places, dates, amounts of money and the like."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from analyzer.document import Document
from analyzer.models.entity_model import Span
from analyzer.sentences import Piece, batches, pieces
from analyzer.steps.base import Progress, Step, StepOptions

BATCH: Final = 4000  # characters that are computed together, in about 60 ms
MAX_ENTITIES: Final = 5000
MAX_COUNTS: Final = 50


class Entities(Step):
    """`{"entities": [{text, label, segment, start, end}], "counts": [{text, label, count}]}`.

    `start`, `end`: offsets in characters of the segment's text. Labels: see `Span`. At most 5,000 entities
    are listed; `counts` has the 50 most frequent of all.
    """

    name: ClassVar[str] = "entities"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})
    live: ClassVar[bool] = True

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        model = await self.resources.entity_model()
        found: list[dict[str, Any]] = []
        counted: Counter[tuple[str, str]] = Counter()
        for batch in batches(pieces(document.passages, BATCH), BATCH):
            spans = await self.resources.compute(model, [piece.text for piece in batch])
            for piece, of_piece in zip(batch, spans, strict=True):
                counted.update((span.text, span.label) for span in of_piece)
                found += placed(piece, of_piece)[: MAX_ENTITIES - len(found)]
            await progress(_result(found, counted))
        return _result(found, counted)


def placed(piece: Piece, spans: Iterable[Span]) -> list[dict[str, Any]]:
    """The entities with their places in the segment."""
    segment, offset = piece.passage.segment, piece.offset
    return [
        {
            "text": span.text,
            "label": span.label,
            "segment": segment,
            "start": offset + span.start,
            "end": offset + span.end,
        }
        for span in spans
    ]


def _result(found: list[dict[str, Any]], counted: Counter[tuple[str, str]]) -> dict[str, Any]:
    counts = [
        {"text": text, "label": label, "count": count}
        for (text, label), count in counted.most_common(MAX_COUNTS)
    ]
    return {"entities": list(found), "counts": counts}
