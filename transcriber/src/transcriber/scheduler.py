"""One queue in front of the engine: finals, then first partials, then partials; one inference thread.

Chunks of jobs come last; an engine that can hears them in a thread of their own, to which the system gives
what the others leave, so that no live window waits for one.

A window is cut from the audio when its turn has come, so a partial is never older than it must be.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import Final

from parlando.background import background_thread
from parlando.errors import EngineError
from transcriber import metrics
from transcriber.cadence import Cadence
from transcriber.engines.base import Engine, Hypothesis, Window


class Lane(IntEnum):
    """Who goes first; lower is sooner."""

    FINAL = 0
    FIRST_PARTIAL = 1
    PARTIAL = 2
    CHUNK = 3


LIVE: Final = (Lane.FINAL, Lane.FIRST_PARTIAL, Lane.PARTIAL)


class Ticket:
    """A place in the queue. Await `answer`: the hypothesis, or None if it was cancelled in time."""

    __slots__ = ("_started", "answer", "lane", "make_window", "queued_at")

    def __init__(self, lane: Lane, make_window: Callable[[], Window]) -> None:
        self.lane = lane
        self.make_window = make_window
        self.queued_at = time.monotonic()
        self.answer: asyncio.Future[Hypothesis | None] = asyncio.get_running_loop().create_future()
        self._started = False

    def start(self) -> bool:
        """Whether the engine should run it; from then on it can't be cancelled."""
        self._started = not self.answer.done()
        return self._started

    def cancel(self) -> None:
        """Leave the queue, unless the engine is at it already."""
        if not self._started and not self.answer.done():
            self.answer.set_result(None)


class Scheduler:
    """The only door to the engine."""

    def __init__(self, engine: Engine, cadence: Cadence) -> None:
        self.engine = engine
        self.cadence = cadence
        self.busy_s = 0.0
        """Seconds the engine has worked."""
        self.finals_s = 0.0
        """… of these, on finals of live sessions …"""
        self.patient_s = 0.0
        """… and of these, on such that were heard patiently."""
        self.heard_s = 0.0
        """Seconds of audio that are settled, as told by `note_heard` …"""
        self.live_heard_s = 0.0
        """… of these, of live sessions."""
        self._lanes: dict[Lane, deque[Ticket]] = {lane: deque() for lane in Lane}
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._background = background_thread("chunks") if engine.info.concurrent else self._thread

    def submit(self, lane: Lane, make_window: Callable[[], Window]) -> Ticket:
        """Queue a window; `make_window` is called when the engine is ready for it."""
        ticket = Ticket(lane, make_window)
        self._lanes[lane].append(ticket)
        self._wake.set()
        return ticket

    def note_heard(self, seconds: float, *, live: bool) -> None:
        """Count audio that is settled: what the engine's work was good for."""
        self.heard_s += seconds
        if live:
            self.live_heard_s += seconds

    @property
    def finals_wait(self) -> bool:
        """Whether another final waits for the one whose turn it is."""
        return bool(self._lanes[Lane.FINAL])

    @property
    def waiting(self) -> int:
        """Windows of live sessions in the queue."""
        return sum(len(self._lanes[lane]) for lane in LIVE)

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        if self.engine.info.concurrent:
            await asyncio.gather(self._serve_lanes(LIVE), self._serve_lanes((Lane.CHUNK,)))
        else:
            await self._serve_lanes(tuple(Lane))

    async def _serve_lanes(self, lanes: Sequence[Lane]) -> None:
        while True:
            tickets = self._next(lanes)
            if not tickets:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._serve(tickets)

    def _next(self, lanes: Sequence[Lane]) -> list[Ticket]:
        """The next tickets to run together: as many as the engine gains from, best lanes first.

        Chunks only when nothing live waits, for a live window would have to wait for them.
        """
        chosen: list[Ticket] = []
        for lane in lanes:
            queue = self._lanes[lane]
            if lane is Lane.CHUNK and chosen:
                break
            while queue and len(chosen) < self.engine.info.batch:
                ticket = queue.popleft()
                if ticket.start():
                    chosen.append(ticket)
        return chosen

    async def _serve(self, tickets: list[Ticket]) -> None:
        now = time.monotonic()
        for ticket in tickets:
            metrics.QUEUE_DELAY.labels(ticket.lane.name.lower()).observe(now - ticket.queued_at)
        if tickets[0].lane is not Lane.CHUNK:
            self.cadence.observe(max(now - ticket.queued_at for ticket in tickets))
            for ticket in tickets:
                metrics.STAGES.observe("queue", now - ticket.queued_at)
        windows = [ticket.make_window() for ticket in tickets]
        try:
            answers: list[Hypothesis | EngineError] = [*await self._infer(windows, tickets[0].lane)]
        except EngineError as error:
            answers = (
                [error]
                if len(tickets) == 1
                else [
                    await self._alone(window, ticket.lane)
                    for window, ticket in zip(windows, tickets, strict=True)
                ]
            )
        for ticket, answer in zip(tickets, answers, strict=True):
            if ticket.answer.done():  # its session is gone
                continue
            if isinstance(answer, EngineError):
                ticket.answer.set_exception(answer)
            else:
                ticket.answer.set_result(answer)

    async def _alone(self, window: Window, lane: Lane) -> Hypothesis | EngineError:
        """One window of a batch that failed: its neighbours shall not suffer for it."""
        try:
            return (await self._infer([window], lane))[0]
        except EngineError as error:
            return error

    async def _infer(self, windows: list[Window], lane: Lane) -> list[Hypothesis]:
        """Have the engine hear windows, one batch at a time in each thread."""
        started = time.monotonic()
        thread = self._background if lane is Lane.CHUNK else self._thread
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, self.engine.transcribe, windows)
        finally:
            took = time.monotonic() - started
            self.busy_s += took
            if lane is Lane.FINAL:
                self.finals_s += took
                self.patient_s += took if windows[0].patient else 0.0
            metrics.INFERENCE.observe(took)
            if lane is not Lane.CHUNK:
                metrics.STAGES.observe("engine", took)

    def close(self) -> None:
        """Let the inference thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)
