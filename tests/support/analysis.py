"""Texts with the results that an analysis ought to give, and how far results agree with them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzer.document import Document, Passage
from analyzer.resources import Resources
from analyzer.steps.base import Step, StepOptions

FIXTURES = Path(__file__).parents[1] / "fixtures" / "analysis"
TRANSCRIPTS = ("meeting", "call", "medical", "sales")


@dataclass(frozen=True)
class Score:
    """Of items found, those that are right; and how many there ought to be."""

    right: int
    found: int
    wanted: int

    @classmethod
    def of(cls, found: Iterable[Any], wanted: Iterable[Any]) -> "Score":
        found, wanted = set(found), set(wanted)
        return cls(len(found & wanted), len(found), len(wanted))

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.wanted if self.wanted else 1.0


@dataclass(frozen=True)
class Gold:
    """A text with its entities: (segment, start, end, label); its questions and actions: (segment, text)."""

    document: Document
    entities: frozenset[tuple[int, int, int, str]]
    questions: frozenset[tuple[int, str]]
    actions: frozenset[tuple[int, str]]


def labelled(name: str) -> list[dict[str, str]]:
    """Texts with one label each: `topics`, `sentiment` or `languages`."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


def transcript(name: str) -> Gold:
    """One of TRANSCRIPTS. Its segments take 5 s each."""
    return _gold(json.loads((FIXTURES / f"{name}.json").read_text())["segments"])


def read_speech() -> Gold:
    """Reference texts of read speech, each as a segment."""
    rows = json.loads((FIXTURES / "read_speech.json").read_text())
    return _gold(
        [{"segment": place, "questions": [], "actions": [], **row} for place, row in enumerate(rows)]
    )


def _gold(segments: list[dict[str, Any]]) -> Gold:
    passages = [
        Passage(each["segment"], each["text"], place * 5.0, place * 5.0 + 5.0, each.get("speaker"))
        for place, each in enumerate(segments)
    ]
    return Gold(
        Document(tuple(passages), "en"),
        frozenset(
            (each["segment"], entity["start"], entity["end"], entity["label"])
            for each in segments
            for entity in each["entities"]
        ),
        frozenset((each["segment"], text) for each in segments for text in each["questions"]),
        frozenset((each["segment"], text) for each in segments for text in each["actions"]),
    )


def document(*texts: str) -> Document:
    """A text of segments of 5 s."""
    return Document(
        tuple(Passage(place, text, place * 5.0, place * 5.0 + 5.0) for place, text in enumerate(texts))
    )


async def result(step: type[Step], text: Document, resources: Resources) -> dict[str, Any]:
    """What a step makes of a text. Partial results must be JSON."""

    async def progress(partial: dict[str, Any]) -> None:
        json.dumps(partial)

    made = await step(resources).run(text, StepOptions(), progress)
    json.dumps(made)
    return made


def places(made: dict[str, Any]) -> set[tuple[int, int, int, str]]:
    """The entities of a result in the form of `Gold`."""
    return {(each["segment"], each["start"], each["end"], each["label"]) for each in made["entities"]}


def texts(items: Iterable[dict[str, Any]]) -> set[tuple[int, str]]:
    """Questions or actions of a result in the form of `Gold`."""
    return {(each["segment"], each["text"]) for each in items}


def overlapping(found: set[tuple[int, int, int, str]], wanted: frozenset[tuple[int, int, int, str]]) -> Score:
    """Entities count as right if they overlap one of the same label."""

    def has_partner(one: tuple[int, int, int, str], others: Iterable[tuple[int, int, int, str]]) -> bool:
        return any(
            one[0] == other[0] and one[3] == other[3] and one[1] < other[2] and other[1] < one[2]
            for other in others
        )

    # `right` counts those wanted; precision uses those found, which may differ by a split span.
    right = sum(has_partner(each, found) for each in wanted)
    return Score(right, len(found), len(wanted))
