"""Deliveries that were given up are kept for a while, listed for their owner, retried and dropped."""

import asyncio
import time
from collections import Counter

import pytest

from parlando.errors import DeliveryFailedError, DeliveryNotFoundError
from parlando.store.deliveries import Delivery
from parlando.store.keys import DeliveryKeys, feed
from support.deliveries import Bench, idle, until

KEYS = DeliveryKeys(0, "test")


@pytest.fixture
async def bench(redis):
    made = Bench(redis)
    yield made
    for task in made.tasks:
        assert not task.done() or task.cancelled()
    await made.stop()


async def test_dead_letters_are_listed_by_owner_retried_and_dropped(bench):
    refuse, arrived = True, Counter()

    async def attempt(delivery: Delivery) -> None:
        if refuse:
            raise DeliveryFailedError("http_410", "Gone", permanent=True)
        arrived[delivery.id] += 1

    worker = bench.start(attempt)
    await bench.queue(2, owner="a")
    await bench.queue(1, owner="b", partition=1)
    await until(lambda: worker.dead == 3)
    deliveries = worker.deliveries
    mine = await deliveries.find("a", dead=True, limit=10)
    [other] = await deliveries.find("b", dead=True, limit=10)
    assert [(each.state, each.error, each.detail, each.attempts) for each in mine] == [
        ("dead", "http_410", "Gone", 1)
    ] * 2
    assert await deliveries.find("c", dead=True, limit=10) == []
    assert len(await deliveries.find("a", dead=True, limit=1)) == 1

    refuse = False
    assert await deliveries.retry(mine[0]) == "dead"
    assert await deliveries.drop(mine[1]) == "dead"
    await until(lambda: arrived == {mine[0].id: 1})
    await until(lambda: worker.dead == 1)
    for gone in mine:
        with pytest.raises(DeliveryNotFoundError):
            await deliveries.get(gone.partition, gone.id)
    with pytest.raises(DeliveryNotFoundError):
        await deliveries.get(99, mine[0].id)
    assert (await deliveries.get(other.partition, other.id)).state == "dead"


async def test_what_waits_is_listed_too_and_can_be_hurried(bench):
    refuse = True

    async def attempt(delivery: Delivery) -> None:
        if delivery.destination == "hole":
            await asyncio.Event().wait()
        if refuse:
            raise DeliveryFailedError("http_503", "Later")

    worker = bench.start(attempt, delays_s=(1000,), slots=4)
    await bench.queue(3, to="hole")  # one is worked on, the others are ready
    await bench.queue(to="busy")
    await until(lambda: worker.failures == 1)
    found = await worker.deliveries.find("a", dead=False, limit=10)
    assert Counter(each.state for each in found) == {"working": 1, "ready": 2, "later": 1}
    [later] = [each for each in found if each.state == "later"]
    assert later.next_ms > time.time() * 1000 + 500_000
    refuse = False
    assert await worker.deliveries.retry(later) == "later"
    await until(lambda: worker.waiting == 3)


async def test_dead_letters_are_bounded_in_number_and_age(bench, redis):
    async def refuse(delivery: Delivery) -> None:
        raise DeliveryFailedError("http_410", "Gone", permanent=True)

    worker = bench.start(refuse, max_dead=10, dead_ttl_s=1000)
    await bench.queue(30)
    await idle(bench)
    await until(lambda: worker.dead == 10)
    kept = await worker.deliveries.find("a", dead=True, limit=100)
    assert sorted(int(each.fields["n"]) for each in kept) == list(range(20, 30))

    oldest = kept[-1].id
    await redis.zadd(KEYS.index("dead"), {oldest: time.time() * 1000 - 2_000_000})
    await until(lambda: worker.dead == 9)
    assert not await redis.hexists(KEYS.records, oldest)


async def test_an_owner_can_not_fill_a_queue_for_others(bench, redis):
    """What one has too much of is a dead letter at once; what is done or dropped makes room again."""
    going = asyncio.Event()

    async def wait(delivery: Delivery) -> None:
        await going.wait()

    worker = bench.start(wait, per_owner=10)
    await bench.queue(15, owner="a")
    await bench.queue(5, owner="b")
    await until(lambda: (worker.waiting, worker.dead) == (15, 5))
    dead = await worker.deliveries.find("a", dead=True, limit=10)
    assert {each.error for each in dead} == {"too_many"}
    assert await worker.deliveries.find("b", dead=True, limit=10) == []
    for each in dead:
        await worker.deliveries.drop(each)
    going.set()
    await idle(bench)
    assert not await redis.exists(KEYS.all()[-1])
    await bench.queue(10, owner="a")
    await idle(bench)
    await until(lambda: worker.dead == 0)


async def test_every_key_has_a_lifetime(bench, redis):
    async def attempt(delivery: Delivery) -> None:
        raise DeliveryFailedError("no", "No", permanent=delivery.destination == "dead")

    worker = bench.start(attempt, delays_s=(1000,))
    await bench.queue(to="dead")
    await bench.queue(to="later")
    await until(lambda: worker.failures == 2 and worker.dead == 1)
    made = {key: await redis.ttl(key) for key in await redis.keys("*")}
    assert {key for key, ttl in made.items() if ttl == -1} == {feed(0).encode(), feed(1).encode()}
    assert len(made) >= 4
