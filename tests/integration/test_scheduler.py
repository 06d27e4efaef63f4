"""Who is heard first, and with whom."""

import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from parlando.domain.audio import to_float
from parlando.errors import EngineError
from support.perfect import PerfectEngine, speak
from transcriber.engines.base import Window
from transcriber.recognition.cadence import Cadence
from transcriber.recognition.deadlines import Lane
from transcriber.recognition.scheduler import Scheduler


def window(number: int) -> Window:
    return Window(to_float(speak(1, first=number)), final=True)


class NotingEngine(PerfectEngine):
    """Notes what it's given together."""

    def __init__(self) -> None:
        super().__init__(batch=4)
        self.calls: list[list[Window]] = []

    def transcribe(self, windows):
        self.calls.append(list(windows))
        return super().transcribe(windows)


@pytest.fixture
async def scheduler():
    scheduler = Scheduler(NotingEngine(), Cadence(8000))
    yield scheduler
    scheduler.close()


async def heard(scheduler: Scheduler, lanes: list[Lane]) -> list[list[int]]:
    """The windows of each call of the engine, by their number."""
    tickets = [scheduler.submit(lane, lambda n=n: window(n)) for n, lane in enumerate(lanes)]
    serving = asyncio.create_task(scheduler.run())
    answers = await asyncio.gather(*(ticket.answer for ticket in tickets))
    serving.cancel()
    assert [answer.text for answer in answers] == [f"w{n:04d}" for n in range(len(lanes))]

    def number(heard: Window) -> int:
        return round(float(np.abs(heard.samples).max()) * 32768) - 6000

    return [[number(each) for each in call] for call in scheduler.engine.calls]


async def test_live_windows_go_before_chunks_and_never_with_them(scheduler):
    lanes = [Lane.CHUNK, Lane.CHUNK, Lane.PARTIAL, Lane.FINAL, Lane.CHUNK, Lane.FIRST_PARTIAL]
    assert await heard(scheduler, lanes) == [[5, 3, 2], [0, 1, 4]]


async def test_chunks_fill_the_batch_of_an_engine_that_gains_from_it(scheduler):
    assert await heard(scheduler, [Lane.CHUNK] * 6) == [[0, 1, 2, 3], [4, 5]]


async def test_chunks_do_not_make_partials_rarer(scheduler):
    await heard(scheduler, [Lane.CHUNK] * 4)
    assert scheduler.cadence.delay_s == 0.0
    scheduler.observe_load()
    assert scheduler.cadence.load == 0.0
    assert scheduler.busy_s > 0


async def test_a_withdrawn_ticket_is_not_decoded(scheduler):
    gone = scheduler.submit(Lane.PARTIAL, lambda: window(0))
    scheduler.withdraw(gone)
    assert await gone.answer is None
    assert scheduler.waiting == 0
    assert await heard(scheduler, [Lane.FINAL]) == [[0]]


async def test_a_decode_that_only_improves_a_final_is_dropped_if_it_would_be_late(scheduler):
    late = scheduler.submit(Lane.REDECODE, lambda: window(0), deadline=time.monotonic() - 1)
    serving = asyncio.create_task(scheduler.run())
    assert await asyncio.wait_for(late.answer, 60) is None
    in_time = scheduler.submit(Lane.REDECODE, lambda: window(1), deadline=time.monotonic() + 3600)
    assert (await asyncio.wait_for(in_time.answer, 60)).text == "w0001"
    assert len(scheduler.engine.calls) == 1
    serving.cancel()


async def test_the_capacity_counts_no_decodes_that_only_use_free_time(scheduler):
    serving = asyncio.create_task(scheduler.run())
    now = time.monotonic()
    free = scheduler.submit(Lane.REDECODE, lambda: window(0), deadline=now + 3600)
    await asyncio.wait_for(free.answer, 60)
    assert scheduler.busy_s > 0
    assert scheduler.spent.finals == 0.0
    doubtful = scheduler.submit(Lane.REDECODE, lambda: window(1), deadline=now + 3000, expires=now + 3600)
    await asyncio.wait_for(doubtful.answer, 60)
    assert scheduler.spent.finals > 0.0
    serving.cancel()


async def test_a_chunk_that_the_engine_fails_on_harms_none_in_its_batch():
    class Failing(PerfectEngine):
        def transcribe(self, windows):
            found = super().transcribe(windows)
            if any(hypothesis.text == "w0001" for hypothesis in found):
                raise EngineError("w0001")
            return found

    scheduler = Scheduler(Failing(batch=4), Cadence(8000))
    tickets = [scheduler.submit(Lane.CHUNK, lambda n=n: window(n)) for n in range(3)]
    serving = asyncio.create_task(scheduler.run())
    answers = await asyncio.gather(*(ticket.answer for ticket in tickets), return_exceptions=True)
    serving.cancel()
    scheduler.close()
    assert [str(getattr(answer, "text", answer)) for answer in answers] == ["w0000", "w0001", "w0002"]
    assert isinstance(answers[1], EngineError)


async def test_an_engine_that_can_hears_live_windows_while_it_hears_a_chunk():
    """A live window doesn't wait for a chunk that takes long."""

    class Slow(PerfectEngine):
        def __init__(self) -> None:
            super().__init__()
            self.info = replace(self.info, concurrent=True)

        def transcribe(self, windows):
            if np.abs(windows[0].samples).max() * 32768 < 6001:  # word 0
                released.wait(10)
            return super().transcribe(windows)

    released = threading.Event()
    scheduler = Scheduler(Slow(), Cadence(8000))
    serving = asyncio.create_task(scheduler.run())
    chunk = scheduler.submit(Lane.CHUNK, lambda: window(0))
    await asyncio.sleep(0.05)
    live = scheduler.submit(Lane.FINAL, lambda: window(1))
    assert (await asyncio.wait_for(live.answer, 60)).text == "w0001"
    assert not chunk.answer.done()
    released.set()
    assert (await asyncio.wait_for(chunk.answer, 60)).text == "w0000"
    serving.cancel()
    scheduler.close()


async def test_whatever_an_engine_raises_fails_its_own_ticket_and_no_other():
    class Broken(PerfectEngine):
        def transcribe(self, windows):
            found = super().transcribe(windows)
            if any(hypothesis.text == "w0001" for hypothesis in found):
                raise ZeroDivisionError("a bug")
            return found

    scheduler = Scheduler(Broken(), Cadence(8000))
    serving = asyncio.create_task(scheduler.run())
    tickets = [scheduler.submit(Lane.FINAL, lambda n=n: window(n)) for n in range(3)]
    answers = await asyncio.gather(*(ticket.answer for ticket in tickets), return_exceptions=True)
    assert [str(getattr(answer, "text", answer)) for answer in answers] == [
        "w0000",
        "ZeroDivisionError: a bug",
        "w0002",
    ]
    assert isinstance(answers[1], EngineError)
    assert not serving.done()
    serving.cancel()
    scheduler.close()


async def test_a_window_that_cannot_be_cut_fails_its_own_ticket_and_no_other(scheduler):
    def broken() -> Window:
        raise KeyError("segment")

    tickets = [scheduler.submit(Lane.FINAL, make) for make in (lambda: window(0), broken, lambda: window(2))]
    serving = asyncio.create_task(scheduler.run())
    answers = await asyncio.gather(*(ticket.answer for ticket in tickets), return_exceptions=True)
    assert [getattr(answer, "text", None) for answer in answers] == ["w0000", None, "w0002"]
    assert isinstance(answers[1], EngineError)
    assert not serving.done()
    serving.cancel()


async def test_an_answer_too_few_is_a_failure():
    class Short(PerfectEngine):
        def transcribe(self, windows):
            return super().transcribe(windows)[1:]

    scheduler = Scheduler(Short(), Cadence(8000))
    serving = asyncio.create_task(scheduler.run())
    with pytest.raises(EngineError, match="0 answers to 1 windows"):
        await scheduler.submit(Lane.FINAL, lambda: window(0)).answer
    serving.cancel()
    scheduler.close()


async def test_a_slow_answer_of_a_server_holds_up_no_other_window():
    """Requests to a server run side by side: one that is tried again for minutes must not stop the rest."""

    class Remote(PerfectEngine):
        def __init__(self) -> None:
            super().__init__()
            self.info = replace(self.info, parallel=3)

        def transcribe(self, windows):
            found = super().transcribe(windows)
            if found[0].text == "w0000":
                released.wait(60)
            return found

    released = threading.Event()
    scheduler = Scheduler(Remote(), Cadence(8000))
    serving = asyncio.create_task(scheduler.run())
    slow = scheduler.submit(Lane.FINAL, lambda: window(0))
    others = [scheduler.submit(Lane.FINAL, lambda n=n: window(n)) for n in range(1, 9)]
    answers = await asyncio.gather(*(ticket.answer for ticket in others))
    assert [answer.text for answer in answers] == [f"w{n:04d}" for n in range(1, 9)]
    assert not slow.answer.done()
    released.set()
    assert (await slow.answer).text == "w0000"
    serving.cancel()
    scheduler.close()
