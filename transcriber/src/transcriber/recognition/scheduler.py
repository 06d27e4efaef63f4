"""The priority queue of the engine: finals, first partials, further partials, chunks of jobs.

If `EngineInfo.concurrent`, chunks are decoded in a thread of lower priority, so that no live window waits for
a chunk. Calls run in `EngineInfo.parallel` threads.

A window is cut from the audio when the engine is free to decode it, so a partial includes the newest audio.
An error of one window fails only its own ticket.
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
    """The priority of a window; lower values are decoded first."""

    FINAL = 0
    FIRST_PARTIAL = 1
    PARTIAL = 2
    CHUNK = 3


LIVE: Final = (Lane.FINAL, Lane.FIRST_PARTIAL, Lane.PARTIAL)


class Ticket:
    """A queued window. Await `answer`: the hypothesis, or None if the ticket was cancelled."""

    __slots__ = ("_started", "answer", "lane", "make_window", "queued_at")

    def __init__(self, lane: Lane, make_window: Callable[[], Window]) -> None:
        self.lane = lane
        self.make_window = make_window
        self.queued_at = time.monotonic()
        self.answer: asyncio.Future[Hypothesis | None] = asyncio.get_running_loop().create_future()
        self._started = False

    def start(self) -> bool:
        """Mark the ticket as started, after which it can't be cancelled; False if it was cancelled before."""
        self._started = not self.answer.done()
        return self._started

    def cancel(self) -> None:
        """Leave the queue, unless the decode has started."""
        if not self._started and not self.answer.done():
            self.answer.set_result(None)


class Scheduler:
    """Decides which windows the engine decodes next, and measures the time they take."""

    def __init__(self, engine: Engine, partial_interval: PartialInterval) -> None:
        self.engine = engine
        self.partial_interval = partial_interval
        self.busy_s = 0.0
        """Seconds of engine time …"""
        self.finals_s = 0.0
        """… of these, for finals of live sessions …"""
        self.redecode_s = 0.0
        """… of these, for finals that may be decoded again (`Window.redecode`)."""
        self.settled_s = 0.0
        """Seconds of audio with a final, as reported by `note_settled` …"""
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
        """Queue a window; `make_window` is called when the engine is ready to decode it."""
        ticket = Ticket(lane, make_window)
        self._lanes[lane].append(ticket)
        self._wake.set()
        return ticket

    def note_settled(self, seconds: float, *, live: bool) -> None:
        """Add `seconds` of audio whose transcript is final; the real-time factor is relative to these."""
        self.settled_s += seconds
        if live:
            self.live_settled_s += seconds

    @property
    def has_queued_finals(self) -> bool:
        """Whether finals are in the queue."""
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
        """The next tickets to decode in one call: at most `EngineInfo.batch`, highest priority first.

        A batch never mixes chunks with live windows, because a live window would wait for the chunks.
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
            if ticket.answer.done():  # cancelled with its session
                continue
            if isinstance(answer, EngineError):
                ticket.answer.set_exception(answer)
            else:
                ticket.answer.set_result(answer)

    async def _alone(self, window: Window, lane: Lane) -> Hypothesis | EngineError:
        """Decode one window of a failed batch, so that only the windows that cause the failure fail."""
        try:
            return (await self._infer([window], lane))[0]
        except EngineError as error:
            return error

    async def _infer(self, windows: list[Window], lane: Lane) -> list[Hypothesis]:
        """Have the engine decode windows. Raises `EngineError` for every exception of the engine."""
        started = time.monotonic()
        threads = self._background if lane is Lane.CHUNK else self._threads
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(threads, self.engine.transcribe, windows)
        except EngineError:
            raise
        except Exception as error:
            log.exception("engine.failed", windows=len(windows))
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
        each = took / self.engine.info.parallel / len(windows)  # engine time of one window
        self.busy_s += each * len(windows)
        if lane is not Lane.CHUNK:
            self.finals_s += each * sum(window.final for window in windows)
            self.redecode_s += each * sum(window.final and window.redecode for window in windows)

    def close(self) -> None:
        """Stop the threads when their current calls return."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)


def _cut(ticket: Ticket) -> Window | None:
    """The ticket's window; None if `make_window` failed, which fails the ticket."""
    try:
        return ticket.make_window()
    except Exception as error:
        log.exception("window.failed")
        if not ticket.answer.done():
            ticket.answer.set_exception(_engine_error(error))
        return None


def _engine_error(error: Exception) -> EngineError:
    return EngineError(f"{type(error).__name__}: {error}")
