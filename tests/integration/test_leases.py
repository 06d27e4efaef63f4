"""Leases with a real Redis: overdue work is found, a fault stays with its work, partitions cost nothing."""

import asyncio
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from parlando.store.history import History
from parlando.store.keys import sessions as queue_of
from parlando.store.leases import LeasePool, PoolMetrics
from parlando.store.session_log import SessionClaims
from parlando.store.session_reader import SessionReader
from parlando.store.sessions import Sessions
from parlando.tasks import end
from support.pools import PLACE, POOL

LEASE_S = 0.3


async def _claims(redis, name, partitions=1, lease_s=LEASE_S) -> SessionClaims:
    claims = SessionClaims(redis, pool=POOL, worker=name, partitions=partitions, ttl_s=100, lease_s=lease_s)
    await claims.queue.ensure_groups()
    return claims


def _metrics() -> PoolMetrics:
    registry = CollectorRegistry()
    return PoolMetrics(
        Gauge("held", "", registry=registry),
        Counter("claims", "", ["kind"], registry=registry),
        Counter("fenced", "", registry=registry),
    )


@dataclass
class Listening:
    """Work that notes its input. A session whose title is `begin`, `run`, `feed` or `read` breaks there."""

    claim: object
    position: str = "0-0"
    wants_input: bool = True
    fed: list = field(default_factory=list)
    broken: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.title = self.claim.config.get("title")
        if self.title == "begin":
            raise KeyError("a snapshot of another version")

    def feed(self, entries) -> None:
        self.fed += entries
        self.position = self.fed[-1].id
        if self.title == "feed":
            raise IndexError("a bug in the queue")
        if self.title == "read":
            self.broken.set()

    async def run(self) -> None:
        if self.title == "run":
            raise ZeroDivisionError("a bug")
        await self.broken.wait()
        raise ValueError("a bug on this audio")


class Worker:
    """A pool with its loops."""

    def __init__(self, claims: SessionClaims, url: str, *, room: int = 100, partitions: int = 1) -> None:
        self.pool = LeasePool(
            claims,
            noun="session",
            begin=Listening,
            room=lambda held: room - held,
            metrics=_metrics(),
            renew_every_s=LEASE_S / 6,
        )
        reader = SessionReader(
            self.pool, redis_url=url, partitions=partitions, stream=lambda keys: keys.pcm, unit=2
        )
        self.loops = [asyncio.create_task(loop) for loop in (*self.pool.loops(), reader.run())]

    @property
    def sids(self) -> set[str]:
        return {work.claim.name for work in self.pool.work}

    async def stop(self) -> None:
        await end(*self.loops)
        await self.pool.hand_back()


async def _until(condition, what: str) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never: {what}")


async def _let_lapse(redis, claims) -> None:
    """Make claims look as if they had not been renewed for ten minutes."""
    for claim in claims:
        queue = queue_of(claim.partition, POOL)
        [pending] = await redis.xpending_range(queue, "transcribers", claim.entry, claim.entry, 1)
        await redis.xclaim(
            queue, "transcribers", pending["consumer"], 0, [claim.entry], idle=600_000, justid=True
        )


async def test_what_is_overdue_is_taken_over_however_much_is_not(redis):
    """XAUTOCLAIM from 0-0 looks at ten entries for each that it may take: 40 healthy ones hid the rest."""
    sessions = Sessions(redis, partitions=1, ttl_s=100)
    healthy, dead, third = [await _claims(redis, name, lease_s=60) for name in ("healthy", "dead", "third")]
    for number in range(40):
        await sessions.open(f"a{number}", places=[PLACE], config={}, token="t")
        await healthy.take_new()
    abandoned = []
    for number in range(3):
        await sessions.open(f"b{number}", places=[PLACE], config={}, token="t")
        abandoned += await dead.take_new()
    await _let_lapse(redis, abandoned)

    taken = [claim for _ in range(4) for claim in await third.take_over(1)]

    assert sorted(claim.name for claim in taken) == ["b0", "b1", "b2"]


async def test_a_worker_leaves_its_own_overdue_work_alone(redis):
    """After Redis was away for longer than a lease, a worker's own sessions look abandoned."""
    sessions = Sessions(redis, partitions=1, ttl_s=100)
    await sessions.open("s", places=[PLACE], config={}, token="t")
    claims = await _claims(redis, "w", lease_s=60)
    held = await claims.take_new()
    await _let_lapse(redis, held)
    assert await claims.take_over(5, held) == []
    assert not (await claims.renew(held))[0].lost
    assert await claims.take_over(5) == []  # the lease is renewed
    await _let_lapse(redis, held)
    assert [claim.name for claim in await claims.take_over(5)] == ["s"]


@pytest.mark.parametrize("where", ["begin", "run", "feed", "read"])
async def test_a_fault_of_one_session_is_counted_and_ends_no_worker(redis, redis_server, where):
    """After three failures it is closed, and its client is told; its neighbours never notice."""
    sessions, history = Sessions(redis, partitions=1, ttl_s=100), History(redis, partitions=1)
    workers = [Worker(await _claims(redis, f"w{n}"), redis_server.url) for n in range(2)]
    good = await sessions.open("good", places=[PLACE], config={}, token="t")
    bad = await sessions.open("bad", places=[PLACE], config={"title": where}, token="t")
    for writer in (good, bad):
        await writer.append(bytes(3200), 10**9)

    async def state(sid: str) -> str:
        return (await history.record(sid)).state

    for _ in range(3000):
        if await state("bad") == "closed":
            break
        await asyncio.sleep(0.02)

    events = [event async for event in history.all_events("bad")]
    assert [
        b'"type":"%s"' % kind in event
        for kind, event in zip((b"status", b"error", b"closed"), events, strict=True)
    ] == [True] * 3
    assert b'"ms":100' in events[0]
    assert await state("good") == "open"
    assert not any(loop.done() for worker in workers for loop in worker.loops)
    await _until(lambda: sum("good" in worker.sids for worker in workers) == 1, "good is owned")
    for worker in workers:
        await worker.stop()


async def test_a_session_written_by_another_version_is_given_up(redis):
    sessions, history = Sessions(redis, partitions=1, ttl_s=100), History(redis, partitions=1)
    await sessions.open("s", places=[PLACE], config={}, token="t")
    await redis.hset(sessions.keys("s").session, "snapshot", "not JSON")
    claims = await _claims(redis, "w", lease_s=0.01)
    assert await claims.take_new() == []
    for _ in range(2):
        await asyncio.sleep(0.02)
        assert await claims.take_over(5) == []
    assert (await history.record("s")).state == "closed"


async def test_work_that_comes_in_many_partitions_at_once_is_handed_back_beyond_the_room(redis, redis_server):
    sessions = Sessions(redis, partitions=16, ttl_s=100)
    for number in range(40):
        await sessions.open(f"s{number}", places=[PLACE], config={}, token="t")
    small = Worker(await _claims(redis, "small", 16, lease_s=30), redis_server.url, room=2, partitions=16)
    await _until(lambda: small.pool.count == 2, "two are claimed")
    large = Worker(await _claims(redis, "large", 16, lease_s=30), redis_server.url, partitions=16)
    await _until(lambda: len(small.sids | large.sids) == 40, "all are owned, none waits for a lease")
    assert small.pool.count == 2
    for worker in (small, large):
        await worker.stop()


async def test_1024_partitions_need_no_more_connections_than_one(redis, redis_server):
    sessions = Sessions(redis, partitions=1024, ttl_s=100)
    worker = Worker(await _claims(redis, "w", 1024), redis_server.url, partitions=1024)
    await sessions.open("s", places=[PLACE], config={}, token="t")
    await _until(lambda: worker.sids == {"s"}, "it is claimed")
    assert len(await redis.client_list()) < 12
    await worker.stop()
