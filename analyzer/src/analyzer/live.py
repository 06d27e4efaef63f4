"""Annotations of live sessions: each final is processed by the steps that the session's `analyze` names."""

import time
from typing import Final

from analyzer import metrics
from analyzer.document import Document
from analyzer.step_runner import StepRunner
from analyzer.steps.base import StepOptions
from analyzer.turns import URGENT
from parlando.domain.events import EVENTS, FinalTranscript, age_s
from parlando.store.analysis_tasks import ANALYZER
from parlando.store.feed import FeedEntry
from parlando.worker.follower import Context, Follower

OTHER: Final = "other"


class LiveAnalysis(Follower):
    """See the module. Results without a finding are not published."""

    name = ANALYZER
    kinds = frozenset({"final"})
    concurrency = 16

    def __init__(self, steps: StepRunner) -> None:
        self._steps = steps

    async def on_entry(self, entry: FeedEntry, context: Context) -> None:
        """See `Follower.on_entry`."""
        config = await context.history.config(entry.id)
        names = self._steps.live(config.steps)
        if not names:
            return
        found = await context.history.event(entry.id, entry.seq)
        event = EVENTS.validate_json(found) if found else None
        if not isinstance(event, FinalTranscript) or not event.text:
            return
        URGENT.set(True)
        started = time.monotonic()
        document = Document.of([event.settled()])
        for name in names:
            result = await self._steps.run(name, document, StepOptions())
            if result["status"] == "done" and (finding := _finding(name, result)):
                data = {"segment": event.segment, "seq": event.seq, **finding}
                await context.annotate(entry, self, name, data)
        metrics.LIVE_SECONDS.observe(max(time.monotonic() - started, age_s(event.timestamp)))


def _finding(name: str, result: dict[str, object]) -> dict[str, object] | None:
    """The list that has the step's name; None if it is empty, or only says `other`."""
    items = result.get(name)
    if isinstance(items, list):
        items = [each for each in items if not (isinstance(each, dict) and each.get("label") == OTHER)]
        return {name: items} if items else None
    return {key: value for key, value in result.items() if key != "status"}
