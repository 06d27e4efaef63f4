"""Steps with fixed results instead of models, for the setting ANALYSIS_STEPS.

`topics` waits until a file exists.
"""

import asyncio
import os
from pathlib import Path
from typing import Any, ClassVar

from analyzer.document import Document
from analyzer.steps.base import Progress, Step, StepOptions

GATED = "support.gated_steps"
NAMES = ("Entities", "Topics", "Sentiment", "KeySentences", "Keywords")
STEPS = {"ANALYSIS_STEPS": ",".join(f"{GATED}:{name}" for name in NAMES)}
"""For a Cluster, together with `STEP_GATE`, the path of the file for which `topics` waits."""


class _Fixed(Step):
    result: ClassVar[dict[str, Any]]

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        return self.result


class Entities(_Fixed):
    name = "entities"
    result: ClassVar = {"entities": [], "counts": [{"text": "Ada", "label": "PERSON", "count": 2}]}


class Topics(_Fixed):
    name = "topics"
    result: ClassVar = {"topics": [{"label": "mathematics", "score": 0.5}], "segments": []}

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        while not Path(os.environ["STEP_GATE"]).exists():  # noqa: ASYNC240
            await progress(self.result)
            await asyncio.sleep(0.05)
        return self.result


class Sentiment(_Fixed):
    name = "sentiment"
    result: ClassVar = {
        "sentiment": "neutral",
        "share": {"positive": 0.0, "neutral": 1.0, "negative": 0.0},
        "segments": [],
    }


class KeySentences(_Fixed):
    name = "key_sentences"
    result: ClassVar = {"key_sentences": [{"text": "A sentence.", "segment": 0, "start": 61.5}]}


class Keywords(_Fixed):
    name = "keywords"
    result: ClassVar = {"keywords": [{"text": "engine", "score": 1.0, "count": 1}]}
