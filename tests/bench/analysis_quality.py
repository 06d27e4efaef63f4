"""Quality and costs of the analysis: `python -m bench.analysis_quality [--errors]` in tests/. Prints tables.

The texts are those of fixtures/analysis. Entities are compared exactly, and more leniently. Costs: CPU time
of the whole process per segment of a transcript, and what a model adds to a fresh process without torch.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter

from analyzer.resources import Resources
from analyzer.steps.actions import Actions
from analyzer.steps.entities import Entities
from analyzer.steps.key_sentences import KeySentences
from analyzer.steps.keywords import Keywords
from analyzer.steps.language import Language
from analyzer.steps.questions import Questions
from analyzer.steps.sentiment import Sentiment
from analyzer.steps.table import STEPS
from analyzer.steps.topics import Topics
from bench.machine import describe
from parlando.models.catalogue import ENTITIES_EN, SENTENCES
from parlando.models.store import ModelStore
from support.analysis import (
    TRANSCRIPTS,
    Gold,
    Score,
    document,
    labelled,
    overlapping,
    places,
    read_speech,
    result,
    texts,
    transcript,
)

ERRORS = "--errors" in sys.argv
REPEATS = 3

# Run in a process of its own; torch, which spaCy imports if it is installed, isn't part of the analyzer.
LOAD = """
import resource, sys, time
sys.modules["torch"] = None
import numpy, scipy.special, pydantic
from pathlib import Path
import psutil
before, began = psutil.Process().memory_info().rss, time.process_time()
from analyzer.models.{module} import {name}
model = {name}(Path(sys.argv[1]))
model(["Tom lives in Berlin."] * 20)
print(time.process_time() - began, (psutil.Process().memory_info().rss - before) / 1e6)
"""


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


def heading(*cells: str) -> None:
    print()
    row(*cells)
    row(*("---" for _ in cells))


def show(what: str, wrong: object) -> None:
    if ERRORS:
        print(f"    {what}: {wrong}", file=sys.stderr)


async def entities(golds: dict[str, Gold], resources: Resources) -> None:
    heading("entities", "wanted", "found", "exact precision", "exact recall", "span precision", "span recall",
            "overlap recall")  # fmt: skip
    for name, gold in golds.items():
        made = await result(Entities, gold.document, resources)
        found = places(made)
        exact = Score.of(found, gold.entities)
        spans = Score.of({each[:3] for each in found}, {each[:3] for each in gold.entities})
        lenient = overlapping(found, gold.entities)
        figures = (exact.precision, exact.recall, spans.precision, spans.recall, lenient.recall)
        row(name, exact.wanted, exact.found, *map(percent, figures))
        by_segment = {passage.segment: passage.text for passage in gold.document.passages}
        for kind, places_ in (("missed", gold.entities - found), ("wrong", found - gold.entities)):
            show(f"{name} {kind}", sorted((by_segment[s][a:b], label) for s, a, b, label in places_))


async def sentences(golds: dict[str, Gold], resources: Resources) -> None:
    heading("sentences", "wanted", "found", "precision", "recall")
    for name in TRANSCRIPTS:
        gold = golds[name]
        asked = texts((await result(Questions, gold.document, resources))["questions"])
        to_do = texts((await result(Actions, gold.document, resources))["actions"])
        for kind, found, wanted in (("questions", asked, gold.questions), ("actions", to_do, gold.actions)):
            score = Score.of(found, wanted)
            row(f"{kind}, {name}", score.wanted, score.found, percent(score.precision), percent(score.recall))
            show("missed", sorted(wanted - found))
            show("wrong", sorted(found - wanted))


async def labels(resources: Resources) -> None:
    heading("labels", "right", "of")
    for name, step, key in (
        ("topics", Topics, "topic"),
        ("topics_held_out", Topics, "topic"),
        ("sentiment", Sentiment, "sentiment"),
    ):
        rows = labelled(name)
        made = await result(step, document(*(each["text"] for each in rows)), resources)
        got = [each.get("label") or each["sentiment"] for each in made["segments"]]
        pairs = [(label, each[key], each["text"]) for label, each in zip(got, rows, strict=True)]
        row(name, sum(label == wanted for label, wanted, _ in pairs), len(rows))
        for pair in pairs:
            if pair[0] != pair[1]:
                show(name, pair)
    rows = labelled("languages")
    got = [(await result(Language, document(each["text"]), resources))["language"] for each in rows]
    row("languages", sum(one == each["language"] for one, each in zip(got, rows, strict=True)), len(rows))
    for one, each in zip(got, rows, strict=True):
        if one != each["language"]:
            show("language", (one, each))


async def excerpts(golds: dict[str, Gold], resources: Resources) -> None:
    for name in TRANSCRIPTS:
        text = golds[name].document
        print(f"\n{name}")
        print("  topics:", (await result(Topics, text, resources))["topics"])
        mood = await result(Sentiment, text, resources)
        print("  sentiment:", mood["sentiment"], mood["share"])
        words = (await result(Keywords, text, resources))["keywords"]
        print("  keywords:", ", ".join(f"{each['text']} ({each['count']})" for each in words))
        for each in (await result(KeySentences, text, resources))["key_sentences"]:
            print(f"  key sentence at {each['start']} s: {each['text']}")


async def costs(golds: dict[str, Gold], resources: Resources) -> None:
    passages = sum(len(golds[name].document.passages) for name in TRANSCRIPTS)
    words = sum(len(golds[name].document.text.split()) for name in TRANSCRIPTS)
    heading("step", f"CPU ms per segment of {words / passages:.0f} words", "longest computation, ms of CPU")
    for step in STEPS:
        watched = Watched(resources)
        began = time.process_time()
        for _ in range(REPEATS):
            for name in TRANSCRIPTS:
                await result(step, golds[name].document, watched)  # type: ignore[arg-type]
        spent = (time.process_time() - began) / REPEATS / passages * 1000
        row(step.name, f"{spent:.2f}", f"{1000 * watched.longest:.0f}")


class Watched:
    """Resources that note the longest computation."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.longest = 0.0
        self.entity_model = resources.entity_model
        self.sentence_model = resources.sentence_model

    async def compute(self, function, *args, **kwargs):
        def timed():
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.longest = max(self.longest, time.thread_time() - began)

        return await self._resources.compute(timed)


def models() -> None:
    heading("model", "CPU s to load", "resident MB")
    for model, module, name in (
        (ENTITIES_EN, "entity_model", "EntityModel"),
        (SENTENCES, "sentence_model", "SentenceModel"),
    ):
        command = [sys.executable, "-c", LOAD.format(module=module, name=name), str(ModelStore().path(model))]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        row(model.name, f"{float(output[0]):.1f}", f"{float(output[1]):.0f}")


async def main() -> None:
    for model in (ENTITIES_EN, SENTENCES):
        ModelStore().pull(model)
    golds = {**{name: transcript(name) for name in TRANSCRIPTS}, "read speech": read_speech()}
    resources = Resources(ModelStore())
    try:
        print(describe())
        print("\nEntities by label:", Counter(each[3] for gold in golds.values() for each in gold.entities))
        await entities(golds, resources)
        await sentences(golds, resources)
        await labels(resources)
        await costs(golds, resources)
        models()
        await excerpts(golds, resources)
    finally:
        resources.close()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    asyncio.run(main())
