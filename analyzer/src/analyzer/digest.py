"""Digests: what a session's transcript contains so far."""

from analyzer.document import Document
from analyzer.language_model import spent_on
from analyzer.step_runner import StepRunner
from analyzer.steps.base import StepOptions
from analyzer.turns import URGENT
from parlando.domain.analysis import DIGEST
from parlando.domain.corrections import corrected
from parlando.domain.events import EVENTS, FinalTranscript, now, settled
from parlando.store.history import History
from parlando.store.requests import CountedReply, Request


class DigestProcessor:
    """Processes requests for digests."""

    def __init__(self, history: History, steps: StepRunner) -> None:
        self._history = history
        self._steps = steps

    async def process(self, request: Request) -> CountedReply:
        """The digest of a session. Raises `SessionNotFoundError`, `UnavailableError`."""
        sid = request.fields["session"]
        record = await self._history.record(sid)
        events = [EVENTS.validate_json(event) async for event in self._history.all_events(sid)]
        finals = [event for event in events if isinstance(event, FinalTranscript)]
        document = Document.of(corrected(settled(events), await self._history.corrected(sid)))
        URGENT.set(True)
        results = {
            name: await self._steps.run(name, document, StepOptions())
            for name in self._steps.possible(DIGEST)
        }
        body = {
            "session_id": sid,
            "segments": len(document.passages),
            "seq": max((event.seq for event in finals), default=0),
            "seconds": max((event.end for event in finals), default=0.0),
            "language": document.language,
            **results,
            "timestamp": now(),
        }
        return CountedReply(body, record.key, spent_on(results.values()))
