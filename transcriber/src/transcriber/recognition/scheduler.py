"""One queue in front of the engine: finals, then first partials, then partials; then chunks of jobs.

An engine that allows it decodes chunks in a thread of lower priority, so that no live window waits for one,
and windows in as many threads as its `parallel` says, so that none waits for another's answer.

A window is cut from the audio when the engine is free for it, so a partial is never older than it must be.
Whatever goes wrong with a window is the failure of its own ticket.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import Final

import structlog

from parlando.background import background_thread
from parlando.errors import EngineError
from transcriber import metrics
from transcriber.engines.base import Engine, Hypothesis, Window
from transcriber.recognition.partial_interval import PartialInterval

log = structlog.get_logger(part="scheduler")


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

    def __init__(self, engine: Engine, partial_interval: PartialInterval) -> None:
        self.engine = engine
        self.partial_interval = partial_interval
        self.busy_s = 0.0
        """Seconds the engine has worked."""
        self.finals_s = 0.0
        """… of these, on finals of live sessions …"""
        self.redecode_s = 0.0
        """… and of these, on such that were heard patiently."""
        self.settled_s = 0.0
        """Seconds of audio that are settled, as told by `note_settled` …"""
        self.live_settled_s = 0.0
        """… of these, of live sessions."""
        self._lanes: dict[Lane, deque[Ticket]] = {lane: deque() for lane in Lane}
        self._wake = asyncio.Event()
        parallel = engine.info.parallel
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="inference")
        self._background = self._threads
        if engine.info.concurrent:
            several = parallel > 1
            self._background = ThreadPoolExecutor(parallel) if several else background_thread("chunks")

    def submit(self, lane: Lane, make_window: Callable[[], Window]) -> Ticket:
        """Queue a window; `make_window` is called when the engine is ready for it."""
        ticket = Ticket(lane, make_window)
        self._lanes[lane].append(ticket)
        self._wake.set()
        return ticket

    def note_settled(self, seconds: float, *, live: bool) -> None:
        """Count audio that is settled: what the engine's work was good for."""
        self.settled_s += seconds
        if live:
            self.live_settled_s += seconds

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
        info = self.engine.info
        queues: list[Sequence[Lane]] = [LIVE, (Lane.CHUNK,)] if info.concurrent else [tuple(Lane)]
        async with asyncio.TaskGroup() as servers:
            for lanes in queues:
                for _ in range(info.parallel):
                    servers.create_task(self._serve_lanes(lanes))

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
            self.partial_interval.observe(max(now - ticket.queued_at for ticket in tickets))
            for ticket in tickets:
                metrics.LATENCIES.observe("queue", now - ticket.queued_at)
        cut = [(ticket, window) for ticket in tickets if (window := _cut(ticket)) is not None]
        if not cut:
            return
        windows = [window for _, window in cut]
        try:
            answers: list[Hypothesis | EngineError] = [*await self._infer(windows, tickets[0].lane)]
        except EngineError as error:
            alone = len(cut) == 1
            answers = [error] if alone else [await self._alone(window, ticket.lane) for ticket, window in cut]
        for (ticket, _), answer in zip(cut, answers, strict=True):
            if ticket.answer.done():  # its session is gone
                continue
            if isinstance(answer, EngineError):
                ticket.answer.set_exception(answer)
            else:
                ticket.answer.set_result(answer)

    async def _alone(self, window: Window, lane: Lane) -> Hypothesis | EngineError:
        """One window of a batch that failed: the others of the batch must not fail for it."""
        try:
            return (await self._infer([window], lane))[0]
        except EngineError as error:
            return error

    async def _infer(self, windows: list[Window], lane: Lane) -> list[Hypothesis]:
        """Have the engine decode windows. Raises `EngineError`, whatever the engine raises."""
        started = time.monotonic()
        threads = self._background if lane is Lane.CHUNK else self._threads
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(threads, self.engine.transcribe, windows)
        except EngineError:
            raise
        except Exception as error:
            log.exception("engine.broke", windows=len(windows))
            raise _engine_error(error) from error
        finally:
            self._account(windows, lane, time.monotonic() - started)
        if len(answers) != len(windows):
            raise EngineError(f"The engine gave {len(answers)} answers to {len(windows)} windows")
        return answers

    def _account(self, windows: list[Window], lane: Lane, took: float) -> None:
        metrics.INFERENCE.observe(took)
        if lane is not Lane.CHUNK:
            metrics.LATENCIES.observe("engine", took)
        each = took / self.engine.info.parallel / len(windows)
        self.busy_s += each * len(windows)
        if lane is not Lane.CHUNK:
            self.finals_s += each * sum(window.final for window in windows)
            self.redecode_s += each * sum(window.final and window.redecode for window in windows)

    def close(self) -> None:
        """Let the inference thread end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)


def _cut(ticket: Ticket) -> Window | None:
    """The ticket's window; None if it can't be cut, which is then the ticket's failure."""
    try:
        return ticket.make_window()
    except Exception as error:
        log.exception("window.broke")
        if not ticket.answer.done():
            ticket.answer.set_exception(_engine_error(error))
        return None


def _engine_error(error: Exception) -> EngineError:
    return EngineError(f"{type(error).__name__}: {error}")
