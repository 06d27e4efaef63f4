"""The step `keywords`: the names and noun groups that a text is about."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from analyzer.document import Document
from analyzer.models.entity_model import NAMES, Span
from analyzer.sentences import batches, pieces
from analyzer.steps.base import Progress, Step, StepOptions

BATCH: Final = 3000  # characters that are computed together, in about 80 ms
MOST: Final = 20
MOST_NAMES: Final = 10
MAX_KEPT: Final = 20_000
"""Different phrases whose counts are kept; when there are more, the rarest are dropped."""
_LITTLE: Final = """
thing things something anything nothing everything everyone everybody anyone anybody someone
somebody nobody lot lots bit kind sort way ways time times day days week weeks month months year
years today tomorrow yesterday morning afternoon evening night moment minute minutes second seconds
hour hours people person man woman guy guys one ones other others part parts example case cases
reason fact point question questions answer number numbers place places side end start beginning
rest half couple name names thanks sir madam hello bye yeah okay ok uh um idea problem stuff anyway
course mr mrs ms sorry
"""
_SAY_LITTLE: Final = frozenset(_LITTLE.split())
_ADJECTIVES: Final = """
other same last next first second third many much few more most several own such whole good great
nice sure able new old big small little right wrong certain different only very real long short best
better bad fine happy sorry welcome all some any nearest previous following
"""
_VAGUE: Final = frozenset(_ADJECTIVES.split())
_WORD: Final = re.compile(r"[\w'’-]+")


class Keywords(Step):
    """`{"keywords": [{text, score, count}]}`: at most 10 names, then noun groups; 20 together. Scores: 0
    to 1.

    A name's score is its number of occurrences, and a noun group's as well, times a factor for the number of
    words and one for an early first occurrence; both relative to the greatest one of their kind.
    """

    name: ClassVar[str] = "keywords"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        model = await self.resources.entity_model()
        phrases = Phrases()
        for batch in batches(pieces(document.passages, BATCH), BATCH):
            spans = await self.resources.compute(model.phrases, [piece.text for piece in batch])
            for of_piece in spans:
                phrases.add(of_piece)
            await progress({"keywords": phrases.keywords()})
        return {"keywords": phrases.keywords()}


class Phrases:
    """Counts names and noun groups."""

    def __init__(self) -> None:
        self._names: Counter[str] = Counter()
        self._groups: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._written: dict[str, str] = {}
        self._seen = 0

    def add(self, spans: Iterable[Span]) -> None:
        """Count the spans of one text."""
        for span in spans:
            self._seen += 1
            if span.label in NAMES:
                self._count(self._names, span.text)
            elif span.label == "NOUNS" and (phrase := meaningful(span.text)):
                self._count(self._groups, phrase)

    def _count(self, counter: Counter[str], phrase: str) -> None:
        key = phrase.casefold()
        counter[key] += 1
        self._first.setdefault(key, self._seen)
        self._written.setdefault(key, phrase)
        if len(counter) > MAX_KEPT:
            kept = Counter(dict(counter.most_common(MAX_KEPT // 2)))
            counter.clear()
            counter.update(kept)
            named = self._names.keys() | self._groups.keys()
            self._first = {each: place for each, place in self._first.items() if each in named}
            self._written = {each: text for each, text in self._written.items() if each in named}

    def keywords(self) -> list[dict[str, Any]]:
        """The best of both kinds."""
        names = self._ranked({key: float(count) for key, count in self._names.items()}, self._names)
        groups = self._ranked({key: self._weight(key) for key in self._groups}, self._groups)
        names = names[:MOST_NAMES]
        return names + groups[: MOST - len(names)]

    def _weight(self, key: str) -> float:
        words = len(key.split())
        early = 1 + 0.3 * (1 - self._first[key] / max(self._seen, 1))
        return self._groups[key] * (1 + 0.5 * math.log2(min(words, 4))) * early

    def _ranked(self, weights: dict[str, float], counts: Counter[str]) -> list[dict[str, Any]]:
        order = sorted(weights, key=lambda key: (-weights[key], self._first[key]))[:MOST]
        greatest = weights[order[0]] if order else 1.0
        return [
            {
                "text": self._written[key],
                "score": round(weights[key] / greatest, 3),
                "count": counts[key],
            }
            for key in order
        ]


def meaningful(group: str) -> str:
    """A noun group without vague adjectives in front; empty if nothing is left that says something."""
    words = group.split()
    while words and words[0].casefold() in _VAGUE:
        words.pop(0)
    last = words[-1].casefold() if words else ""
    if len(last) < 3 or last in _SAY_LITTLE or not all(_WORD.fullmatch(word) for word in words):
        return ""
    return " ".join(words)
