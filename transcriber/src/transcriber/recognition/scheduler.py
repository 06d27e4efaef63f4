"""The queue of the engine: windows of live sessions by their deadlines, then chunks of jobs.

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
from typing import Final

import structlog

from parlando import tracing
from parlando.background import background_thread
from parlando.domain.audio import SAMPLE_RATE
from parlando.errors import EngineError
from transcriber import metrics
from transcriber.engines.base import Engine, Hypothesis, Window
from transcriber.recognition.cadence import Cadence
from transcriber.recognition.capacity import Spent
from transcriber.recognition.deadlines import SLACK_S, Costs, Lane, Waiting, in_turn

ADAPT_EVERY_S: Final = 0.1  # between two adaptations of the interval of partials

log = structlog.get_logger(part="scheduler")


class Ticket:
    """A queued window. Await `answer`: the hypothesis, or None if the ticket was cancelled."""

    __slots__ = ("_started", "answer", "counts", "lane", "make_window", "queued_at", "trace")

    def __init__(self, lane: Lane, make_window: Callable[[], Window], *, counts: bool = True) -> None:
        self.lane = lane
        self.make_window = make_window
        self.counts = counts  # towards the capacity: not if it is decoded in free time only
        self.queued_at = time.monotonic()
        self.answer: asyncio.Future[Hypothesis | None] = asyncio.get_running_loop().create_future()
        self.trace = tracing.current()
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

    def __init__(self, engine: Engine, cadence: Cadence) -> None:
        self.engine = engine
        self.cadence = cadence
        self.busy_s = 0.0
        """Seconds of engine time."""
        self.settled_s = 0.0
        """Seconds of audio with a final, as reported by `note_settled`."""
        self._live_settled_s = 0.0  # of these, of live sessions
        self._live_received_s = 0.0
        self._lanes_s = dict.fromkeys(Lane, 0.0)  # engine time of tickets that count
        self._costs = Costs()
        self._live: Waiting[Ticket] = Waiting(self._costs)
        self._chunks: deque[Ticket] = deque()
        self._live_busy_s = 0.0  # since the cadence was told
        self._wake = asyncio.Event()
        parallel = engine.info.parallel
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="inference")
        self._background = self._threads
        if engine.info.concurrent:
            several = parallel > 1
            self._background = ThreadPoolExecutor(parallel) if several else background_thread("chunks")

    def submit(
        self,
        lane: Lane,
        make_window: Callable[[], Window],
        *,
        audio: int = 0,
        deadline: float | None = None,
        expires: float | None = None,
    ) -> Ticket:
        """Queue a window; `make_window` is called when the engine is ready to decode it.

        `audio`: the window's length in samples, from which its cost is predicted. `deadline`: in seconds of
        `time.monotonic`; None for that of the lane. `expires`: when the window is of no use any more, if not
        at its deadline.
        """
        ticket = Ticket(lane, make_window, counts=in_turn(lane, deadline, expires))
        if lane is Lane.CHUNK:
            self._chunks.append(ticket)
        else:
            if deadline is None:
                deadline = ticket.queued_at + SLACK_S[lane]
            self._live.add(ticket, lane, deadline, audio / SAMPLE_RATE, expires=expires)
        self._wake.set()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Cancel a ticket and remove it from the queue, unless its decode has started."""
        ticket.cancel()
        self._live.discard(ticket)

    def note_settled(self, seconds: float, *, live: bool) -> None:
        """Add `seconds` of audio whose transcript is final; the real-time factor is relative to these."""
        self.settled_s += seconds
        if live:
            self._live_settled_s += seconds

    def note_received(self, audio: int) -> None:
        """Add `audio` samples of a live session, which the segmenter has received."""
        self._live_received_s += audio / SAMPLE_RATE

    @property
    def spent(self) -> Spent:
        """Engine time and audio of live sessions since the start, without decodes that only use free time."""
        return Spent(
            finals=self._lanes_s[Lane.FINAL] + self._lanes_s[Lane.REDECODE],
            first_partials=self._lanes_s[Lane.FIRST_PARTIAL],
            partials=self._lanes_s[Lane.PARTIAL],
            settled=self._live_settled_s,
            received=self._live_received_s,
        )

    @property
    def has_queued_finals(self) -> bool:
        """Whether finals are in the queue."""
        return self._live.has(Lane.FINAL)

    @property
    def waiting(self) -> int:
        """Windows of live sessions in the queue."""
        return len(self._live)

    def observe_load(self) -> None:
        """Adapt the interval of partials to the load since the last call, several times a second."""
        self.cadence.observe(self._live_busy_s, time.monotonic())
        self._live_busy_s = 0.0

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        info = self.engine.info
        async with asyncio.TaskGroup() as servers:
            servers.create_task(self._adapt())
            for _ in range(info.parallel):
                servers.create_task(self._serve_queue(self._next_live if info.concurrent else self._next))
                if info.concurrent:
                    servers.create_task(self._serve_queue(self._next_chunks))

    async def _adapt(self) -> None:
        while True:
            self.observe_load()
            await asyncio.sleep(ADAPT_EVERY_S)

    async def _serve_queue(self, take: Callable[[], list[Ticket]]) -> None:
        while True:
            tickets = take()
            if not tickets:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._serve(tickets)

    def _next(self) -> list[Ticket]:
        """The next tickets to decode in one call: at most `EngineInfo.batch`, live windows first.

        A batch never mixes chunks with live windows, because a live window would wait for the chunks.
        """
        return self._next_live() or self._next_chunks()

    def _next_live(self) -> list[Ticket]:
        chosen: list[Ticket] = []
        now, redecode = time.monotonic(), self.cadence.allows_redecode
        while len(chosen) < self.engine.info.batch:
            ticket = self._live.next(now, redecode=redecode, drop=_drop)
            if ticket is None:
                break
            if ticket.start():
                chosen.append(ticket)
        return chosen

    def _next_chunks(self) -> list[Ticket]:
        chosen: list[Ticket] = []
        while self._chunks and len(chosen) < self.engine.info.batch:
            ticket = self._chunks.popleft()
            if ticket.start():
                chosen.append(ticket)
        return chosen

    async def _serve(self, tickets: list[Ticket]) -> None:
        now = time.monotonic()
        for ticket in tickets:
            metrics.QUEUE_DELAY.labels(ticket.lane.name.lower()).observe(now - ticket.queued_at)
        if tickets[0].lane is not Lane.CHUNK:
            for ticket in tickets:
                if ticket.lane is not Lane.REDECODE:
                    self.cadence.observe_delay(now - ticket.queued_at)
                metrics.LATENCIES.observe("queue", now - ticket.queued_at)
        cut = [(ticket, window) for ticket in tickets if (window := _cut(ticket)) is not None]
        if not cut:
            return
        started = time.monotonic()
        try:
            answers: list[Hypothesis | EngineError] = [*await self._infer(cut)]
        except EngineError as error:
            answers = [error] if len(cut) == 1 else [await self._alone(*each) for each in cut]
        for (ticket, window), answer in zip(cut, answers, strict=True):
            if ticket.trace is not None:
                tracing.note(
                    "decode",
                    time.monotonic() - started,
                    within=ticket.trace,
                    lane=ticket.lane.name.lower(),
                    queued_s=started - ticket.queued_at,
                    audio_s=len(window.samples) / SAMPLE_RATE,
                    batch=len(cut),
                )
            if ticket.answer.done():  # cancelled with its session
                continue
            if isinstance(answer, EngineError):
                ticket.answer.set_exception(answer)
            else:
                ticket.answer.set_result(answer)

    async def _alone(self, ticket: Ticket, window: Window) -> Hypothesis | EngineError:
        """Decode one window of a failed batch, so that only the windows that cause the failure fail."""
        try:
            return (await self._infer([(ticket, window)]))[0]
        except EngineError as error:
            return error

    async def _infer(self, windows: Sequence[tuple[Ticket, Window]]) -> list[Hypothesis]:
        """Have the engine decode windows. Raises `EngineError` for every exception of the engine."""
        started = time.monotonic()
        threads = self._background if windows[0][0].lane is Lane.CHUNK else self._threads
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(
                threads, self.engine.transcribe, [window for _, window in windows]
            )
        except EngineError:
            raise
        except Exception as error:
            log.exception("engine.failed", windows=len(windows))
            raise _engine_error(error) from error
        finally:
            self._account(windows, time.monotonic() - started)
        if len(answers) != len(windows):
            raise EngineError(f"The engine gave {len(answers)} answers to {len(windows)} windows")
        return answers

    def _account(self, windows: Sequence[tuple[Ticket, Window]], took: float) -> None:
        metrics.INFERENCE.observe(took)
        each = took / self.engine.info.parallel / len(windows)  # engine time of one window
        self.busy_s += each * len(windows)
        if windows[0][0].lane is Lane.CHUNK:
            return
        metrics.LATENCIES.observe("engine", took)
        self._live_busy_s += each * len(windows)
        for ticket, window in windows:
            self._costs.observe(ticket.lane, len(window.samples) / SAMPLE_RATE, each)
            if ticket.counts:
                self._lanes_s[ticket.lane] += each
            if ticket.lane is Lane.REDECODE:
                metrics.REDECODES.labels("done").inc()

    def close(self) -> None:
        """Stop the threads when their current calls return."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)


def _drop(ticket: Ticket) -> None:
    if not ticket.answer.done():
        metrics.REDECODES.labels("dropped").inc()
    ticket.cancel()


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
