"""The step `key_sentences`: the sentences of a text that stand for most of it.

Chosen are sentences close to the mean of all sentences' vectors, but not close to each other (maximal
marginal relevance; Carbonell & Goldstein 1998). They are excerpts; nothing is worded anew.
"""

import re
from typing import Any, ClassVar, Final

import numpy as np

from analyzer.document import Document
from analyzer.models.sentence_model import WIDTH, Array
from analyzer.sentences import Piece, batches, sentences
from analyzer.steps.base import Progress, Step, StepOptions
from analyzer.steps.questions import is_question

BATCH: Final = 700  # characters that are computed together, in about 70 ms
FEWEST: Final = 3
MOST: Final = 12
SENTENCES_PER_CHOICE: Final = 8
RELEVANCE: Final = 0.7
"""Weight of the closeness to the mean; the rest is that of the distance from the sentences chosen before."""
FEWEST_WORDS: Final = 8
MAX_CHARACTERS: Final = 600
MAX_SENTENCES: Final = 30_000

_COURTESY: Final = re.compile(
    r"^(?:(?:okay|ok|so|well|yes|no|oh|and|right|great|perfect|all right|alright)[,.!]?\s+)*"
    r"(?:hello|hi|hey|good (?:morning|afternoon|evening|night|day)|welcome|you're welcome|thank|thanks|"
    r"(?:good)?bye|see you|nice to (?:meet|see)|how are you|my name is|this is \w+(?: \w+)?[.,]|"
    r"have a (?:nice|good|great)|sorry|i am (?:very )?sorry|i'm (?:very )?sorry|i apologi[sz]e|"
    r"i understand)\b",
    re.IGNORECASE,
)


class KeySentences(Step):
    """`{"key_sentences": [{text, segment, start}]}`, in the order of the text.

    `start`: second of the audio, estimated inside a segment. One of 8 sentences is chosen, three at least
    and twelve at most, from those that are neither questions nor courtesies and have eight words or more.
    """

    name: ClassVar[str] = "key_sentences"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        parts = await self.resources.compute(candidates, document)
        model = await self.resources.sentence_model()
        vectors = np.zeros((len(parts), WIDTH), np.float32)
        done = 0
        for batch in batches(parts, BATCH):
            vectors[done : done + len(batch)] = await self.resources.compute(
                model, [part.text for part in batch]
            )
            done += len(batch)
            await progress({"key_sentences": [], "progress": round(done / len(parts), 3)})
        chosen = await self.resources.compute(choice, vectors, number(len(parts)))
        return {
            "key_sentences": [
                {"text": part.text, "segment": part.passage.segment, "start": part.start}
                for part in (parts[place] for place in chosen)
            ]
        }


def candidates(document: Document) -> list[Piece]:
    """The sentences that may be chosen. Of a very long text, every second one, or third one and so on."""
    parts = [part for part in sentences(document.passages) if is_candidate(part.text)]
    return parts[:: -(-len(parts) // MAX_SENTENCES) or 1]


def is_candidate(sentence: str) -> bool:
    """Whether a sentence says something, as far as its form shows."""
    enough = len(sentence.split()) >= FEWEST_WORDS and len(sentence) <= MAX_CHARACTERS
    return enough and not is_question(sentence) and not _COURTESY.match(sentence)


def number(candidates: int) -> int:
    """How many sentences are chosen."""
    return min(max(FEWEST, round(candidates / SENTENCES_PER_CHOICE)), MOST, candidates)


def choice(vectors: Array, count: int) -> list[int]:
    """The places of `count` sentences, in their order. `vectors`: a unit vector in each row."""
    if not count:
        return []
    centre = vectors.mean(axis=0)
    relevance = vectors @ (centre / max(float(np.linalg.norm(centre)), 1e-9))
    repeated = np.zeros(len(vectors), np.float32)
    chosen: list[int] = []
    for _ in range(count):
        gain = RELEVANCE * relevance - (1 - RELEVANCE) * repeated
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        repeated = np.maximum(repeated, vectors @ vectors[chosen[-1]])
    return sorted(chosen)
