"""The step `sentiment`: whether what is said sounds positive, neutral or negative.

A class's score is the mean cosine of the text's vector and those of ten examples. The examples come in threes
about the same subject, so that the subject itself favours no class.
"""

from collections import Counter
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from analyzer.document import Document
from analyzer.models.sentence_model import Array
from analyzer.sentences import Piece, batches
from analyzer.steps.base import Progress, Step, StepOptions
from analyzer.steps.topics import BATCH, MAX_SEGMENTS, first_pieces

CLASSES: Final = ("positive", "neutral", "negative")
NEUTRAL: Final = CLASSES.index("neutral")
EXAMPLES: Final = (
    "The service was excellent, thank you very much.",
    "This is about the service.",
    "The service was terrible, I want to complain.",
    "I am very happy with it.",
    "I have it here.",
    "I am very unhappy and disappointed with it.",
    "It works perfectly now, that's wonderful.",
    "It is used like this.",
    "It doesn't work at all, and it keeps failing.",
    "You helped me a lot, that was so kind of you.",
    "You can call me at this number.",
    "Nobody helped me, that was rude, and I am angry.",
    "That is good news, I'm glad to hear it.",
    "Here is some information for you.",
    "That is bad news, I'm sorry to hear it.",
    "We had a great time, it was beautiful and fun.",
    "We were there from nine to five.",
    "We had an awful time, it was sad and ugly.",
    "I feel much better, what a relief.",
    "I live in a town and go to work by bus.",
    "I feel bad, it hurts, and I'm afraid and worried.",
    "The results are better than we hoped, congratulations.",
    "The results are on the next page of the report.",
    "The results are worse than we feared, we failed and lost a lot.",
    "They delivered early, I love it.",
    "They deliver on Mondays.",
    "They delivered late, it was broken, and I want my money back.",
    "I really like this idea, it is a big improvement.",
    "The next item is the plan for the week.",
    "I hate this idea, it is a waste of time and a big problem.",
)
FEWEST_WORDS: Final = 3


class Sentiment(Step):
    """`{"sentiment", "share": {positive, neutral, negative}, "segments": [{segment, sentiment}]}`.

    `share`: of the words, 0 to 1. `sentiment`: of the whole text: the greater one of positive and
    negative, if it is at least a quarter and one and a half times the other one; else neutral.
    """

    name: ClassVar[str] = "sentiment"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        model = await self.resources.sentence_model()
        examples = await self.resources.compute(model.of_constants, EXAMPLES)
        segments: list[dict[str, Any]] = []
        words: Counter[str] = Counter()
        for batch in batches(first_pieces(document), BATCH):
            vectors = await self.resources.compute(model, [piece.text for piece in batch])
            for piece, sentiment in zip(batch, classes(batch, vectors @ examples.T), strict=True):
                words[sentiment] += len(piece.text.split())
                if len(segments) < MAX_SEGMENTS:
                    segments.append({"segment": piece.passage.segment, "sentiment": sentiment})
            await progress({**overall(words), "segments": list(segments)})
        return {**overall(words), "segments": segments}


def classes(batch: list[Piece], cosines: Array) -> list[str]:
    """The class of each text. `cosines`: with each example, of shape (texts, examples)."""
    scores = scores_of(cosines)
    return [
        CLASSES[int(row.argmax()) if len(piece.text.split()) >= FEWEST_WORDS else NEUTRAL]
        for piece, row in zip(batch, scores, strict=True)
    ]


def scores_of(cosines: Array) -> npt.NDArray[np.float32]:
    """The score of each class, of shape (texts, classes)."""
    return np.asarray(cosines.reshape(len(cosines), -1, len(CLASSES)).mean(axis=1), np.float32)


def overall(words: Counter[str]) -> dict[str, Any]:
    """The sentiment of a text and the share of each class. `words`: number of words by class."""
    total = sum(words.values())
    share = {each: round(words[each] / total, 3) if total else 0.0 for each in CLASSES}
    greater, other = sorted(("positive", "negative"), key=lambda each: -share[each])
    decided = share[greater] >= 0.25 and share[greater] >= 1.5 * share[other]
    return {"sentiment": greater if decided else "neutral", "share": share}
