"""One look for all who ask at the same time."""

import asyncio

import pytest

from api_gateway.coalesced import CoalescedRead
from parlando.errors import UnavailableError


class Redis:
    """Something slow that counts how often it's asked; `gate` lets it answer, `error` makes it fail."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.asked = 0

    async def look(self) -> int:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.asked


async def test_all_who_ask_at_once_share_one_look_and_its_failure():
    redis = Redis()
    redis.error = UnavailableError("away")
    look = CoalescedRead(redis.look, fresh_s=60, within_s=60)
    asking = [asyncio.create_task(look.get()) for _ in range(20)]
    await asyncio.sleep(0)
    redis.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(answer, UnavailableError) for answer in answers)
    assert redis.asked == 1
    with pytest.raises(UnavailableError):  # the failure is good for a while, too
        await look.get()
    assert redis.asked == 1


async def test_a_look_that_takes_too_long_is_unavailable_for_all_of_them():
    redis = Redis()
    look = CoalescedRead(redis.look, fresh_s=60, within_s=0.1)
    answers = await asyncio.gather(*(look.get() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, UnavailableError) for answer in answers)
    assert redis.asked == 1


async def test_one_who_leaves_takes_the_answer_from_no_other():
    redis = Redis()
    look = CoalescedRead(redis.look, fresh_s=60, within_s=60)
    leaving, staying = asyncio.create_task(look.get()), asyncio.create_task(look.get())
    await asyncio.sleep(0)
    leaving.cancel()
    redis.gate.set()
    assert await staying == 1


async def test_an_old_answer_is_looked_up_again():
    redis = Redis()
    redis.gate.set()
    look = CoalescedRead(redis.look, fresh_s=0, within_s=60)
    assert [await look.get(), await look.get()] == [1, 2]


async def test_patience_outlasts_a_failure():
    redis = Redis()
    redis.gate.set()
    redis.error = UnavailableError("away")
    look = CoalescedRead(redis.look, fresh_s=0, within_s=60)
    waiting = asyncio.create_task(look.get_retrying(within_s=600, pause_s=0.01))
    while redis.asked < 3:
        await asyncio.sleep(0.01)
    redis.error = None
    assert await waiting >= 3
