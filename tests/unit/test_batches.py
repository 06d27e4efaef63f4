"""Calls of a script that are made together."""

import asyncio

import pytest

from parlando.store.batches import MOST_BYTES, MOST_CALLS, Batches


class Server:
    """Answers each call with its first argument, or raises it. `gate`: opened when it may answer."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run_all(self, calls):
        self.sizes.append(len(calls))
        await self.gate.wait()
        return [args[0] for _, args in calls]


async def test_calls_made_meanwhile_go_together():
    server = Server()
    server.gate.clear()
    batches = Batches(server.run_all)
    first = asyncio.create_task(batches.run(["k"], [0]))
    while not server.sizes:
        await asyncio.sleep(0)
    others = [asyncio.create_task(batches.run(["k"], [n])) for n in range(1, 50)]
    await asyncio.sleep(0)
    server.gate.set()

    assert await asyncio.gather(first, *others) == list(range(50))
    assert server.sizes == [1, 49]


async def test_a_pipeline_is_limited_in_calls_and_bytes():
    server = Server()
    batches = Batches(server.run_all)
    await asyncio.gather(*(batches.run(["k"], [n]) for n in range(MOST_CALLS + 5)))
    assert server.sizes == [MOST_CALLS, 5]

    server.sizes.clear()
    large = bytes(MOST_BYTES // 2)
    await asyncio.gather(*(batches.run(["k"], [n, large]) for n in range(5)))
    assert server.sizes == [2, 2, 1]


async def test_an_error_of_one_call_is_no_other_calls_error():
    batches = Batches(Server().run_all)
    answers = await asyncio.gather(
        *(batches.run(["k"], [n]) for n in (1, ValueError("wrong"), 3)), return_exceptions=True
    )
    assert answers[0] == 1
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 3


async def test_what_fails_together_fails_for_all_and_the_next_calls_run():
    failures = [ConnectionError("gone")]

    async def run_all(calls):
        if failures:
            raise failures.pop()
        return [args[0] for _, args in calls]

    batches = Batches(run_all)
    answers = await asyncio.gather(*(batches.run(["k"], [n]) for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError] * 3
    assert await batches.run(["k"], [7]) == 7


async def test_a_cancelled_call_delays_and_harms_no_other():
    server = Server()
    server.gate.clear()
    batches = Batches(server.run_all)
    running = asyncio.create_task(batches.run(["k"], [1]))
    while not server.sizes:
        await asyncio.sleep(0)
    waiting = [asyncio.create_task(batches.run(["k"], [n])) for n in (2, 3)]
    await asyncio.sleep(0)
    running.cancel()
    waiting[0].cancel()
    server.gate.set()

    assert await waiting[1] == 3
    for each in (running, waiting[0]):
        with pytest.raises(asyncio.CancelledError):
            await each
    assert server.sizes == [1, 1], "a call that was cancelled before is not sent"
