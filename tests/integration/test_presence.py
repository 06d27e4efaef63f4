"""Disconnected workers are distinguished from stalled ones, with a real Redis."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from parlando.store import presence as module
from parlando.store import work_queue
from parlando.store.connection import connect
from parlando.store.heartbeat import beat
from parlando.store.presence import Presence
from parlando.store.work_queue import WorkQueue
from parlando.tasks import end
from support.redis_topologies import RedisClusterServers

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "HOLD_S", 0.0)
    monkeypatch.setattr(work_queue, "SUSPECT_MS", 1)


@asynccontextmanager
async def connected(url: str, worker: str, **report):
    """A worker with a connection of its own, and a heartbeat, until the end of the block."""
    redis = connect(url)
    await beat(redis, worker, {"kind": "test", "presence": True, **report})
    there = Presence(redis, worker)
    running = asyncio.create_task(there.run())
    async with asyncio.timeout(60):
        while there.since is None:
            await asyncio.sleep(0.01)
    try:
        yield there
    finally:
        await end(running)
        await redis.aclose()


async def disconnected(there: Presence, *workers: str) -> set[str]:
    """The disconnected workers, as soon as there are any."""
    async with asyncio.timeout(60):
        while not (found := await there.disconnected(workers)):
            await asyncio.sleep(0.01)
    return found


async def test_a_worker_is_disconnected_when_its_connection_ends(redis_server):
    async with connected(redis_server.url, "a") as a:
        async with connected(redis_server.url, "b"), connected(redis_server.url, "c"):
            assert await a.disconnected(["b", "c"]) == set()
            assert await a.disconnected([]) == set()
        assert await disconnected(a, "b", "c") == {"b", "c"}


async def test_the_same_in_a_redis_cluster():
    servers = RedisClusterServers()
    servers.start()
    try:
        async with connected(servers.url, "a") as a:
            async with connected(servers.url, "b"), connected(servers.url, "c"):
                assert await a.disconnected(["b", "c"]) == set()
            assert await disconnected(a, "b", "c") == {"b", "c"}
    finally:
        servers.stop()


async def test_a_worker_without_presence_or_heartbeat_never_counts_as_disconnected(redis_server):
    async with connected(redis_server.url, "a") as a, connected(redis_server.url, "old", presence=False):
        assert await a.disconnected(["unknown"]) == set()
    async with connected(redis_server.url, "a") as a:
        assert await a.disconnected(["old", "unknown"]) == set()


async def test_no_worker_counts_as_disconnected_right_after_a_connection(redis_server, monkeypatch):
    async with connected(redis_server.url, "a") as a:
        async with connected(redis_server.url, "b"):
            pass
        await disconnected(a, "b")
        monkeypatch.setattr(module, "HOLD_S", HOUR_S)
        assert await a.disconnected(["b"]) == set()


async def test_a_worker_without_its_own_connection_reports_none_as_disconnected(redis_server, redis):
    async with connected(redis_server.url, "a") as a:
        async with connected(redis_server.url, "b"):
            pass
        await disconnected(a, "b")
        since = a.since
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        async with asyncio.timeout(60):
            while a.since == since:
                await asyncio.sleep(0.01)
        monkey = pytest.MonkeyPatch()
        with monkey.context() as patch:
            patch.setattr(module, "HOLD_S", HOUR_S)
            assert await a.disconnected(["b"]) == set()
        assert await disconnected(a, "b") == {"b"}


async def test_work_of_a_disconnected_worker_is_overdue_before_its_lease_ends(redis_server, redis):
    def queue(worker: str, there: Presence | None = None) -> WorkQueue:
        return WorkQueue(
            redis, lambda p: f"stt:{{{p}}}:intake", "g", worker=worker, partitions=2, lease_s=HOUR_S,
            presence=there,
        )  # fmt: skip

    async with connected(redis_server.url, "a") as a:
        mine, blind = queue("a", a), queue("blind")
        await mine.ensure_groups()
        async with connected(redis_server.url, "b"):
            await redis.xadd("stt:{1}:intake", {"sid": "s"})
            [entry] = await queue("b").take_new()
            await asyncio.sleep(0.02)
            assert await mine.take_over(5) == [], "its owner is connected"
        await disconnected(a, "b")
        assert await blind.take_over(5) == []
        [taken] = await mine.take_over(5)
        assert (taken.entry, taken.attempt) == (entry.entry, 2)
        await asyncio.sleep(0.02)
        assert await mine.take_over(5) == [], "it is this worker's now"
    await redis.delete("stt:{0}:intake", "stt:{1}:intake")
