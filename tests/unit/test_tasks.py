"""Ending tasks and clean-up under cancellation."""

import asyncio

import pytest

from parlando.tasks import end, finish


async def test_ended_tasks_have_run_their_clean_up():
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(1)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert cleaned == [1]


async def test_clean_up_goes_on_through_repeated_cancellation_which_is_raised_afterwards():
    may_end, ended = asyncio.Event(), []

    async def cleanup() -> None:
        await may_end.wait()
        ended.append(1)

    task = asyncio.create_task(finish(cleanup(), within_s=60))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1]


async def test_clean_up_that_takes_too_long_is_given_up():
    await finish(asyncio.Event().wait(), within_s=0.05)


async def test_an_error_of_the_clean_up_is_raised():
    async def cleanup() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await finish(cleanup(), within_s=60)
