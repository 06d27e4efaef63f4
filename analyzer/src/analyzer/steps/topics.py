"""The step `topics`: which of a list of general topics a text is about.

The score is the cosine of the text's vector and the topic's, which is the mean of the vectors of "This
text is about <topic>." and of its description.
"""

from typing import Any, ClassVar, Final

import numpy as np

from analyzer.document import Document
from analyzer.models.sentence_model import Array
from analyzer.sentences import Piece, batches, pieces
from analyzer.steps.base import Progress, Step, StepOptions

DESCRIPTIONS: Final = {
    "billing and payments": "a bill, an invoice, a payment, a bank transfer or a refund",
    "technical support": "a computer, phone or internet connection that doesn't work, and how to fix it",
    "software development": "programming, code, bugs, tests, releases, apps and servers",
    "sales and pricing": "selling, an offer, a price, a discount, a contract with a customer",
    "customer complaint": "an unhappy customer who complains about bad service or a broken product",
    "hiring and human resources": "hiring, employees, job interviews, salaries, holidays at work",
    "health and medicine": "a doctor, a patient, an illness, symptoms, medicine and treatment",
    "legal matters": "law, a contract, a lawyer, a court, a judge",
    "finance and investment": "investing money, shares, funds, interest rates, the economy",
    "education": "school, university, teachers, students, lessons and exams",
    "travel": "a journey, a flight, a hotel, a holiday abroad",
    "food and cooking": "cooking, recipes, meals, restaurants",
    "sports": "a match, a team, players, training, a championship",
    "politics and government": "an election, parliament, a minister, the government",
    "science": "research, physics, biology, space, experiments",
    "family and relationships": "family, parents, children, marriage, friends, love",
    "weather": "rain, snow, wind, temperature, the forecast",
    "music and film": "songs, bands, concerts, movies, actors",
    "shipping and delivery": "a parcel, a package, a courier, shipping, customs, a delivery address",
}
TOPICS: Final = tuple(DESCRIPTIONS)
OTHER: Final = "other"
LEAST: Final = 0.15
"""Score below which a text has none of the topics."""
MOST: Final = 3
CLOSE: Final = 2 / 3
"""Share of the best topic's score that the others of a whole text must have."""
BATCH: Final = 700  # characters that are computed together, in about 70 ms
FEWEST_WORDS: Final = 3
MAX_SEGMENTS: Final = 20_000

_TEXTS: Final = tuple(f"This text is about {topic}." for topic in TOPICS)


class Topics(Step):
    """`{"topics": [{label, score}], "segments": [{segment, label, score}]}`.

    `topics`: at most three, the best first, of the whole text; `other` alone if no topic fits. `segments` has
    the best topic of each segment, or `other`. Scores are cosines, most of them between 0.15 and 0.6.
    """

    name: ClassVar[str] = "topics"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})
    live: ClassVar[bool] = True

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        model = await self.resources.sentence_model()
        names = await self.resources.compute(model.of_constants, _TEXTS)
        described = await self.resources.compute(model.of_constants, tuple(DESCRIPTIONS.values()))
        topics = means(names, described)
        total = np.zeros(topics.shape[1], np.float32)
        segments: list[dict[str, Any]] = []
        for batch in batches(first_pieces(document), BATCH):
            vectors = await self.resources.compute(model, [piece.text for piece in batch])
            total += (vectors * weights(batch)[:, None]).sum(axis=0)
            segments += labelled(batch, vectors @ topics.T)[: MAX_SEGMENTS - len(segments)]
            await progress({"topics": best(total, topics), "segments": list(segments)})
        return {"topics": best(total, topics), "segments": segments}


def means(some: Array, others: Array) -> Array:
    """The means of the rows of two matrices, as unit vectors."""
    total = some + others
    return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True), np.float32)


def first_pieces(document: Document) -> list[Piece]:
    """One piece of each passage: the model ignores what comes after some 600 characters anyway."""
    return [next(pieces([passage], BATCH)) for passage in document.passages]


def weights(batch: list[Piece]) -> Array:
    """How much each text counts in the whole: its number of words, up to 20; nothing for very short ones."""
    words = np.array([len(piece.text.split()) for piece in batch], np.float32)
    return np.where(words >= FEWEST_WORDS, np.minimum(words, 20), 0).astype(np.float32)


def labelled(batch: list[Piece], scores: Array) -> list[dict[str, Any]]:
    """The best topic of each piece. `scores`: of shape (pieces, topics)."""
    results = []
    for piece, row in zip(batch, scores, strict=True):
        place, score = int(row.argmax()), round(float(row.max()), 3)
        is_one = score >= LEAST and len(piece.text.split()) >= FEWEST_WORDS
        label = TOPICS[place] if is_one else OTHER
        results.append({"segment": piece.passage.segment, "label": label, "score": score})
    return results


def best(total: Array, topics: Array) -> list[dict[str, Any]]:
    """The best topics of a text. `total`: the sum of its vectors; `topics`: unit vectors, a row each."""
    length = float(np.linalg.norm(total))
    if length == 0.0:
        return [{"label": OTHER, "score": 0.0}]
    scores = topics @ (total / length)
    order = [int(place) for place in np.argsort(-scores)[:MOST]]
    chosen = [
        {"label": TOPICS[place], "score": round(float(scores[place]), 3)}
        for place in order
        if scores[place] >= max(LEAST, CLOSE * scores.max())
    ]
    return chosen or [{"label": OTHER, "score": round(float(scores.max()), 3)}]
