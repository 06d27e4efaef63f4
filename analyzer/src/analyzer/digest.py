"""Digests: what a session's transcript contains so far."""

from typing import Any

from analyzer.document import Document
from analyzer.step_runner import StepRunner
from analyzer.steps.base import StepOptions
from analyzer.turns import URGENT
from parlando.domain.analysis import DIGEST
from parlando.domain.events import EVENTS, FinalTranscript, now, settled
from parlando.store.history import History
from parlando.store.requests import Request


class DigestProcessor:
    """Processes requests for digests."""

    def __init__(self, history: History, steps: StepRunner) -> None:
        self._history = history
        self._steps = steps

    async def process(self, request: Request) -> dict[str, Any]:
        """The digest of a session. Raises `SessionNotFoundError`, `UnavailableError`."""
        sid = request.fields["session"]
        await self._history.config(sid)
        events = [EVENTS.validate_json(event) async for event in self._history.all_events(sid)]
        finals = [event for event in events if isinstance(event, FinalTranscript)]
        document = Document.of(settled(events))
        URGENT.set(True)
        results = {
            name: await self._steps.run(name, document, StepOptions())
            for name in self._steps.possible(DIGEST)
        }
        return {
            "session_id": sid,
            "segments": len(document.passages),
            "seq": max((event.seq for event in finals), default=0),
            "seconds": max((event.end for event in finals), default=0.0),
            "language": document.language,
            **results,
            "timestamp": now(),
        }
