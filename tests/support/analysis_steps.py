"""Steps for tests of tasks: they need no models, and count their runs in the folder ANALYSIS_RUNS."""

import asyncio
import os
from pathlib import Path
from typing import Any

from analyzer.document import Document
from analyzer.steps.base import Progress, Step, StepOptions


class Words(Step):
    """Counts the words, with a partial result for each. `WORDS_PAUSE_MS`: pause after each of them."""

    name = "words"
    live = True

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        words = document.text.split()
        if folder := os.environ.get("ANALYSIS_RUNS"):
            (Path(folder) / f"{os.getpid()}-{words[0]}").touch()
        for number in range(len(words)):
            await progress({"count": number + 1})
            await asyncio.sleep(float(os.environ.get("WORDS_PAUSE_MS", "0")) / 1000)
        return {"words": [{"text": word} for word in words]}


class Waits(Step):
    """Is not done before it is cancelled."""

    name = "waits"

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        for number in range(1_000_000):
            await progress({"number": number})
            await asyncio.sleep(0.25)
        return {}


class Fails(Step):
    """Raises an exception."""

    name = "fails"

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        raise ValueError("as it shall")
