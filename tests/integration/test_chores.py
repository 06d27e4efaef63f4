"""Chores are tried until they succeed, by whoever looks, and none stands in the way of others."""

import asyncio

import pytest

from parlando.redislog.chores import PAGE, Chore, Chores
from parlando.redislog.connection import connect
from parlando.tasks import end

CLOCK_S = 0.002  # Redis counts idle time in whole milliseconds


@pytest.fixture
async def redis(redis_server):
    client = connect(redis_server.url)
    yield client
    await client.aclose()


def _chores(redis, *delays_s: float) -> Chores:
    return Chores(redis, lambda p: f"chores{p}", "g", worker="w", partitions=2, delays_s=delays_s)


async def _work(chores: Chores, do, *, for_s: float) -> None:
    working = asyncio.create_task(chores.work(do, every_s=0.02))
    await asyncio.sleep(for_s)
    assert not working.done()
    await end(working)


async def test_what_fails_is_tried_again_later_and_later(redis):
    chores, attempts = _chores(redis, 0.1, 0.4), []

    async def fail_twice(chore: Chore) -> None:
        attempts.append((chore.attempt, asyncio.get_running_loop().time()))
        if chore.attempt == 3:
            await chores.done(chore)
        raise RuntimeError("not yet")

    await chores.ensure_groups()
    await redis.xadd("chores1", {"sid": "s"})
    await _work(chores, fail_twice, for_s=1.5)

    first, second, third = (at for _, at in attempts)
    assert [number for number, _ in attempts] == [1, 2, 3]
    assert second - first >= 0.1 - CLOCK_S
    assert third - second >= 0.4 - CLOCK_S
    assert await chores.waiting() == 0


async def test_many_that_fail_hide_none_behind_them(redis):
    chores, done = _chores(redis, 0.05, 60), set()
    await chores.ensure_groups()
    for number in range(3 * PAGE):
        await redis.xadd("chores0", {"n": number})

    async def last_ones_only(chore: Chore) -> None:
        number = int(chore.fields["n"])
        if number >= 2 * PAGE and chore.attempt == 2:
            done.add(number)
            await chores.done(chore)

    await _work(chores, last_ones_only, for_s=2)

    assert done == set(range(2 * PAGE, 3 * PAGE))
    assert await chores.waiting() == 2 * PAGE
