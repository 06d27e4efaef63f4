"""Deliveries are done at least once, once if nothing dies, and none stands in the way of another."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from redis import exceptions as broken

from parlando.errors import DeliveryFailedError
from parlando.store.connection import Scripts
from parlando.store.deliveries import PAGE, Delivery
from parlando.store.keys import DeliveryKeys, feed
from parlando.tasks import end
from support.deliveries import Bench, idle, until

KEYS = DeliveryKeys(0, "test")

CLOCK_S = 0.002  # Redis' clock and ours are read to the millisecond


@pytest.fixture
async def bench(redis):
    made = Bench(redis)
    yield made
    for task in made.tasks:
        assert not task.done() or task.cancelled()
    await made.stop()


# --- attempts --------------------------------------------------------------------------------------


async def test_what_fails_is_tried_again_later_and_later(bench):
    attempts = []

    async def fail_twice(delivery: Delivery) -> None:
        attempts.append((delivery.attempt, time.monotonic()))
        await asyncio.sleep(0.1)
        if delivery.attempt < 3:
            raise RuntimeError("not yet")

    bench.start(fail_twice, delays_s=(0.2, 0.8))
    await bench.queue(partition=1)
    await until(lambda: len(attempts) == 3)
    await idle(bench)

    first, second, third = (at for _, at in attempts)
    assert [number for number, _ in attempts] == [1, 2, 3]
    assert second - first >= 0.1 + 0.2 * 0.8 - CLOCK_S, "the delay begins at the end of the attempt"
    assert third - second >= 0.1 + 0.8 * 0.8 - CLOCK_S


async def test_two_gateways_send_once_though_the_endpoint_is_slower_than_the_delay(bench):
    calls = Counter()

    async def slowly(delivery: Delivery) -> None:
        calls[delivery.id] += 1
        await asyncio.sleep(1)

    bench.start(slowly, delays_s=(0.01,), slots=8)
    bench.start(slowly, delays_s=(0.01,), slots=8)
    for number in range(24):
        await bench.queue(to=f"host{number}")
    await until(lambda: len(calls) == 24)
    await idle(bench)

    assert set(calls.values()) == {1}


async def test_a_lease_is_renewed_while_an_attempt_lasts(bench, redis):
    going = asyncio.Event()

    async def wait(delivery: Delivery) -> None:
        await going.wait()

    worker = bench.start(wait, lease_s=2.0)
    await bench.queue()
    await until(lambda: worker.at_work == 1)
    [(_, begun)] = await redis.zrange(KEYS.index("working"), 0, -1, withscores=True)
    for _ in range(2):
        until_ms = begun
        deadline = time.monotonic() + 60
        while until_ms <= begun:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            [(_, until_ms)] = await redis.zrange(KEYS.index("working"), 0, -1, withscores=True)
        begun = until_ms
    going.set()
    await idle(bench)


async def test_a_fault_of_any_kind_is_a_failed_attempt_of_that_delivery_only(bench):
    done, tried = [], Counter()

    async def attempt(delivery: Delivery) -> None:
        tried[delivery.destination] += 1
        if delivery.destination == "poison":
            raise ZeroDivisionError
        if delivery.destination == "slow":
            raise TimeoutError
        done.append(delivery.destination)

    worker = bench.start(attempt, attempts=3)
    await bench.queue(to="poison")
    await bench.queue(to="slow")
    await bench.redis.xadd(feed(0), {"neither": "kind nor id"})
    await bench.queue(3, to="fine")
    await until(lambda: done.count("fine") == 3 and tried["poison"] == tried["slow"] == 3)
    await idle(bench)

    dead = await worker.deliveries.find("a", dead=True, limit=10)
    assert sorted((each.destination, each.error, each.attempts) for each in dead) == [
        ("poison", "internal", 3),
        ("slow", "timeout", 3),
    ]


# --- fairness --------------------------------------------------------------------------------------


async def test_hosts_that_never_answer_delay_no_other_tenant(bench):
    """Several hundred deliveries of two tenants hang for ever; those of others all arrive."""
    hanging, arrived = Counter(), Counter()

    async def attempt(delivery: Delivery) -> None:
        if delivery.destination.startswith("hole"):
            hanging[delivery.owner] += 1
            await asyncio.Event().wait()
        arrived[delivery.owner] += 1

    worker = bench.start(attempt)
    await bench.queue(3 * PAGE, owner="a", to="hole")
    await bench.queue(3 * PAGE, owner="b", to="hole2", partition=1)
    await until(lambda: hanging["a"] and hanging["b"])
    await bench.queue(20, owner="c", to="fine")
    await bench.queue(20, owner="d", to="fine2", partition=1)
    await bench.queue(5, owner="a", to="fine3")
    await until(lambda: arrived == {"c": 20, "d": 20, "a": 5})

    await until(lambda: worker.at_work == 8)
    assert hanging == {"a": 4, "b": 4}, "a quarter of the slots for each of these hosts"


async def test_an_owner_with_many_hanging_hosts_gets_half_of_the_slots(bench):
    hanging, arrived = [], []

    async def attempt(delivery: Delivery) -> None:
        if delivery.owner == "a":
            hanging.append(delivery.destination)
            await asyncio.Event().wait()
        arrived.append(delivery.id)

    bench.start(attempt)
    for number in range(30):
        await bench.queue(owner="a", to=f"hole{number}", partition=number % 2)
    await until(lambda: len(hanging) == 8)
    await bench.queue(20, owner="b")
    await until(lambda: len(arrived) == 20)
    assert len(hanging) == 8


async def test_a_host_that_fails_gets_one_slot_until_it_succeeds(bench):
    now, limit, works = Counter(), Counter(), asyncio.Event()

    async def attempt(delivery: Delivery) -> None:
        phase = works.is_set()
        now[phase] += 1
        limit[phase] = max(limit[phase], now[phase])
        await asyncio.sleep(0.05)
        now[phase] -= 1
        if not works.is_set():
            raise DeliveryFailedError("http_503", "Not now")

    worker = bench.start(attempt, delays_s=(0.01,))
    await bench.queue()
    await until(lambda: worker.failures >= 1)
    await bench.queue(20)
    await until(lambda: worker.failures >= 15)
    works.set()
    await idle(bench)
    assert limit[False] == 1
    assert limit[True] > 1


async def test_many_that_fail_hide_none_behind_them(bench):
    done = set()

    async def last_ones_only(delivery: Delivery) -> None:
        if int(delivery.fields["n"]) < 2 * PAGE:
            raise DeliveryFailedError("http_500", "No")
        done.add(int(delivery.fields["n"]))

    worker = bench.start(last_ones_only, delays_s=(1000,))
    await bench.queue(3 * PAGE)
    await until(lambda: done == set(range(2 * PAGE, 3 * PAGE)))
    await until(lambda: worker.waiting == 2 * PAGE)


# --- death -----------------------------------------------------------------------------------------

KILLED = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from parlando.store.connection import connect
from support.deliveries import Bench

async def main():
    async def hang(delivery):
        print("began", delivery.attempt, flush=True)
        await asyncio.Event().wait()

    Bench(connect({url!r})).start(hang, lease_s=1.0)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_delivery_of_a_killed_gateway_is_made_by_another(bench, redis_server):
    code = KILLED.format(tests=str(Path(__file__).parents[1]), url=redis_server.url)
    await bench.queue()
    gateway = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    try:
        assert await gateway.stdout.readline() == b"began 1\n"
    finally:
        gateway.send_signal(signal.SIGKILL)
        await gateway.wait()
    seen = []

    async def note(delivery: Delivery) -> None:
        seen.append((delivery.attempt, delivery.error))

    bench.start(note)
    await until(lambda: seen)
    await idle(bench)
    assert seen == [(2, "abandoned")], "the count survives the death"


async def test_a_delivery_that_kills_its_gateways_is_given_up(bench, redis):
    """Leases that run out count as attempts."""
    worker = bench.start(lambda delivery: asyncio.Event().wait(), attempts=2)
    await bench.queue()
    await until(lambda: worker.at_work == 1)
    [identifier] = await redis.zrange(KEYS.index("working"), 0, -1)
    deadline = time.monotonic() + 60
    while worker.dead == 0:  # as if nobody renewed its lease
        assert time.monotonic() < deadline
        await redis.zadd(KEYS.index("working"), {identifier: 1}, xx=True)
        await asyncio.sleep(0.01)

    [dead] = await worker.deliveries.find("a", dead=True, limit=10)
    assert (dead.error, dead.attempts) == ("abandoned", 2)


async def test_a_gateway_that_stops_hands_back_at_once_and_it_counts_for_nothing(bench):
    seen = []

    async def note(delivery: Delivery) -> None:
        seen.append((delivery.attempt, delivery.error))

    hanging = bench.start(lambda delivery: asyncio.Event().wait(), lease_s=1000)
    await bench.queue(3)
    await until(lambda: hanging.at_work == 3)
    await end(bench.tasks.pop())
    bench.start(note)
    await until(lambda: len(seen) == 3)
    assert set(seen) == {(1, "")}


# --- lost answers ----------------------------------------------------------------------------------


async def test_the_first_answer_of_every_script_may_be_lost(bench, redis, monkeypatch):
    """It has run, the connection breaks, it's run again: nothing is lost or counted twice."""
    evalsha, run_many, lost = redis.evalsha, Scripts.run_many, Counter()

    async def losing(sha, count, *args):
        answer = await evalsha(sha, count, *args)
        lost[sha, args] += 1
        if lost[sha, args] == 1:
            raise broken.ConnectionError("after the script has run")
        return answer

    async def twice(self, name, calls):
        await run_many(self, name, calls)
        return await run_many(self, name, calls)

    monkeypatch.setattr(redis, "evalsha", losing)
    monkeypatch.setattr(Scripts, "run_many", twice)
    attempts = []

    async def fail_once(delivery: Delivery) -> None:
        attempts.append((delivery.id, delivery.attempt))
        if delivery.attempt == 1:
            raise RuntimeError("not yet")
        if delivery.fields["n"] == "0":
            raise DeliveryFailedError("http_410", "Gone", permanent=True)

    worker = bench.start(fail_once, slots=4, attempts=3)
    await bench.queue(10)
    await until(lambda: worker.dead == 1 and worker.waiting == 0)

    assert sorted(Counter(attempts).values()) == [1] * 20
    assert {attempt for _, attempt in attempts} == {1, 2}
    [dead] = await worker.deliveries.find("a", dead=True, limit=10)
    assert await worker.deliveries.retry(dead) == "dead"
    await until(lambda: worker.dead == 1 and worker.waiting == 0 and len(attempts) == 22)
    assert await worker.deliveries.drop(dead) == "dead"
    assert min(lost.values()) == 2
