"""Followers get every entry of the feed at least once, whatever happens to them."""

import asyncio
from collections import Counter

import pytest

from parlando.store.keys import feed
from parlando.tasks import end
from parlando.worker.follower import Follower, FollowerPool
from support.deliveries import happen, until


class Counting(Follower):
    """Counts the entries that it was called for; `how` may fail or wait."""

    name = "counting"
    kinds = frozenset({"closed"})
    concurrency = 2
    attempts = 3
    timeout_s = 30.0

    def __init__(self, how=None) -> None:
        self.calls: Counter[str] = Counter()
        self.at_work = self.most = 0
        self._how = how

    async def on_entry(self, entry, context) -> None:
        self.calls[entry.id] += 1
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            if self._how:
                await self._how(entry)
        finally:
            self.at_work -= 1


class Running:
    """Pools of a follower, each like a worker's."""

    def __init__(self, redis) -> None:
        self._redis = redis
        self.tasks: list[asyncio.Task[None]] = []

    def start(
        self, follower: Follower, name: str, *, partitions: int = 2, lease_s: float = 30.0
    ) -> FollowerPool:
        pool = FollowerPool(follower, self._redis, worker=name, partitions=partitions, lease_s=lease_s)
        self.tasks += [asyncio.create_task(loop) for loop in pool.loops()]
        return pool

    async def stop(self) -> None:
        await end(*self.tasks)
        self.tasks = []


@pytest.fixture
async def running(redis):
    made = Running(redis)
    yield made
    await made.stop()


async def _pending(redis, partition: int = 0) -> int:
    [group] = await redis.xinfo_groups(feed(partition))
    return group["pending"]


async def test_every_entry_once_shared_by_two_workers_and_so_many_at_a_time(redis, running):
    async def briefly(entry) -> None:
        await asyncio.sleep(0.005)

    first, second = Counting(briefly), Counting(briefly)
    running.start(first, "a")
    running.start(second, "b")
    for number in range(60):
        await happen(redis, number, partition=number % 2)
    await until(lambda: (first.calls + second.calls).total() == 60)

    assert set((first.calls + second.calls).values()) == {1}
    assert first.calls
    assert second.calls
    assert max(first.most, second.most) <= 2
    await until(lambda: not first.at_work and not second.at_work)
    assert [await _pending(redis, partition) for partition in (0, 1)] == [0, 0]


async def test_an_entry_that_fails_is_tried_again_and_given_up_and_holds_nothing_up(redis, running):
    async def fail(entry) -> None:
        if entry.id == "0":
            raise ZeroDivisionError

    follower = Counting(fail)
    running.start(follower, "a", lease_s=0.2)
    for number in range(5):
        await happen(redis, number)
    await redis.xadd(feed(0), {"neither": "kind nor id"})
    await happen(redis, 5)
    await until(lambda: follower.calls["0"] == 3 and len(follower.calls) == 6)
    await asyncio.sleep(0.5)
    assert follower.calls == {"0": 3, "1": 1, "2": 1, "3": 1, "4": 1, "5": 1}
    assert await _pending(redis) == 0


async def test_a_lease_is_renewed_while_a_follower_works(redis, running):
    going = asyncio.Event()

    async def wait(entry) -> None:
        await going.wait()

    slow, other = Counting(wait), Counting()
    running.start(slow, "slow", lease_s=0.4)
    for number in range(4):  # two are worked on, two wait for room
        await happen(redis, number, partition=number % 2)
    await until(lambda: slow.at_work == 2)
    running.start(other, "other", lease_s=0.4)
    await asyncio.sleep(1.5)
    taken = other.calls.copy()
    going.set()
    await until(lambda: (slow.calls + other.calls).total() == 4)
    assert set((slow.calls + other.calls).values()) == {1}
    assert taken.total() <= 2


async def test_what_a_worker_leaves_is_taken_over_at_once(redis, running):
    async def wait(entry) -> None:
        await asyncio.sleep(600)

    leaving = running.start(Counting(wait), "leaving", lease_s=600)
    await happen(redis, 1)
    await until(lambda: leaving.count == 1)
    await running.stop()
    await leaving.hand_back()
    follower = Counting()
    staying = FollowerPool(follower, redis, worker="staying", partitions=2, lease_s=600)
    await staying._start(await staying._feed.take_over(10))
    await until(lambda: follower.calls == {"1": 1})


async def test_entries_of_other_kinds_are_passed_over(redis, running):
    follower = Counting()
    running.start(follower, "a")
    await redis.xadd(feed(0), {"kind": "opened", "id": "x", "key": "", "uid": "", "seq": 0, "wanted": 0})
    await happen(redis, 1)
    await until(lambda: follower.calls == {"1": 1})
    assert await _pending(redis) == 0


async def test_a_follower_survives_a_redis_that_comes_back_empty(redis, running):
    follower = Counting()
    running.start(follower, "a")
    await happen(redis, 1)
    await until(lambda: follower.calls["1"] == 1)
    await redis.flushall()
    await happen(redis, 2)
    await until(lambda: follower.calls["2"] == 1)
