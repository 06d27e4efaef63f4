"""Limits of keys and owners, as several gateways count them in one Redis."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from api_gateway.limits.allowances import Allowance
from api_gateway.limits.requests import RequestRate
from api_gateway.limits.service import LimitService, document_of
from api_gateway.limits.windows import RequestWindows, Window
from parlando.domain.access import Scope
from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.job_options import JobOptions
from parlando.domain.limits import Limits
from parlando.errors import (
    QuotaExceededError,
    RateLimitedError,
    TooManyJobsError,
    TooManySessionsError,
    UnavailableError,
)
from parlando.store.api_keys import ApiKeys, KeyRequest
from parlando.store.connection import connect
from parlando.store.held import Holder
from parlando.store.job_store import Jobs, Source
from parlando.store.key_ring import KeyRing
from parlando.store.key_usage import AudioUsed
from parlando.store.limit_keys import OWNER_LIMITS
from parlando.store.pubsub import Channels
from parlando.store.sessions import Sessions
from parlando.store.usage_keys import day, usage
from support.pools import PLACE, POOL
from support.redis_topologies import RedisClusterServers, SentinelServers

pytestmark = pytest.mark.usefixtures("same_day")
OWNER, OTHER = "a" * 64, "b" * 64
MINE = Holder(OWNER)
LONG_S = 60  # what takes milliseconds, on a machine of any speed


class Gateway:
    """The limits of one gateway process."""

    def __init__(self, url: str, default: Limits) -> None:
        self.redis = connect(url)
        self.jobs = Jobs(self.redis, partitions=1, ttl_s=3600, limit=100)
        self.sessions = Sessions(self.redis, partitions=1, ttl_s=3600)
        self.channels = Channels(self.redis)
        self.ring = KeyRing(ApiKeys(self.redis), self.channels)
        self.limits = LimitService.of(
            self.redis,
            self.channels,
            self.ring,
            AudioUsed(self.redis, partitions=1),
            default=default,
            max_upload_mb=2048,
            waiting=self.jobs.still_waiting,
        )

    async def key(self, owner: str = OWNER, **limits: int) -> Holder:
        """A stored key with these limits."""
        request = KeyRequest("k", owner, "", (Scope.LIVE,), limits=Limits(**limits))
        key, _ = await self.ring.keys.create(request)
        await self.ring.read()
        return Holder(owner, key.id)

    async def submit(self, caller: Holder, job: str) -> None:
        await self.limits.jobs.admit(caller, job)
        await self.jobs.submit(job, Source("b", "a.wav"), JobOptions(), pool=POOL, key=caller.owner)


@asynccontextmanager
async def gateways(url: str, count: int = 1, **default: int):
    made = [Gateway(url, Limits(**default)) for _ in range(count)]
    try:
        yield made[0] if count == 1 else made
    finally:
        for each in made:
            await each.channels.aclose()
            await each.redis.aclose()


async def used(gateway: Gateway, what: str, seconds: float, owner: str = OWNER) -> None:
    """An owner has used so much audio today."""
    name = usage(0, day())
    await gateway.redis.hincrby(name, f"{owner[:16]}:{what}", round(seconds * 1000))
    await gateway.redis.expire(name, 3600)


# --- requests a minute ------------------------------------------------------------------------------


async def test_two_gateways_share_the_requests_of_a_minute(redis_server):
    async with gateways(redis_server.url, 2, requests_minute=5) as (first, second):
        left = []
        for number in range(5):
            taken = await (first, second)[number % 2].limits.requests.take(MINE)
            left += [window.remaining for window in taken.windows]
            assert taken.refusal is None
        assert left == [4, 3, 2, 1, 0]
        for gateway in (first, second):
            refused = await gateway.limits.requests.take(MINE)
            assert isinstance(refused.refusal, RateLimitedError)
            assert 1 <= refused.refusal.retry_after_s <= 60
            with pytest.raises(RateLimitedError, match=r"5 requests .*LIMIT_REQUESTS_MINUTE"):
                refused.check()
        assert (await first.limits.requests.take(Holder(OTHER))).refusal is None
        await first.redis.flushall()
    async with gateways(redis_server.url) as unlimited:
        for _ in range(20):
            assert (await unlimited.limits.requests.take(MINE)).windows == ()
        assert await unlimited.redis.keys("stt:limits:*") == [], "nothing is counted without a limit"


async def test_a_key_that_is_refused_uses_nothing_of_its_owners_requests(redis_server):
    async with gateways(redis_server.url, requests_minute=4) as gateway:
        greedy, modest = await gateway.key(requests_minute=2), await gateway.key()
        taken = [await gateway.limits.requests.take(greedy) for _ in range(5)]
        assert [each.refusal is None for each in taken] == [True, True, False, False, False]
        assert taken[2].refusal.of == "key"
        taken = [await gateway.limits.requests.take(modest) for _ in range(3)]
        assert [each.refusal is None for each in taken] == [True, True, False]
        assert taken[2].refusal.of == "owner"


async def test_requests_are_admitted_while_redis_does_not_answer(monkeypatch):
    """And only the first of them waits for it."""
    monkeypatch.setattr("api_gateway.limits.requests.REST_S", 600.0)

    class Silent(RequestWindows):
        def __init__(self) -> None:
            self.calls = 0

        async def take(self, who: str, limit: int) -> tuple[bool, Window]:
            self.calls += 1
            raise UnavailableError("Redis can't be reached")

    class Five:
        def of(self, caller: Holder):
            return Allowance(Limits(requests_minute=5), Limits())

    silent = Silent()
    rate = RequestRate(silent, Five())
    for _ in range(50):
        assert (await rate.take(MINE)).refusal is None
    assert silent.calls == 1


@pytest.mark.parametrize("topology", [RedisClusterServers, SentinelServers])
async def test_limits_are_counted_in_a_redis_cluster_and_with_sentinel(topology, monkeypatch):
    monkeypatch.setattr("api_gateway.limits.requests.ANSWER_S", LONG_S)
    servers = topology()
    servers.start()
    try:
        async with gateways(servers.url, 2, requests_minute=3, sessions=2, jobs_waiting=1) as (first, second):
            key = await first.key()
            taken = [await gateway.limits.requests.take(key) for gateway in (first, second, first, second)]
            assert [each.refusal is None for each in taken] == [True, True, True, False]
            for gateway, sid in ((first, "s1"), (second, "s2")):
                await gateway.limits.sessions.admit(key, sid, window_s=60)
            with pytest.raises(TooManySessionsError):
                await first.limits.sessions.admit(key, "s3", window_s=60)
            await first.limits.sessions.release(key, "s1")
            await second.limits.sessions.admit(key, "s3", window_s=60)
            await first.limits.owners.put(OWNER[:16], Limits(sessions=3))
            await second.limits.owners.read()
            await second.limits.sessions.admit(key, "s4", window_s=60)
            assert len(await first.limits.report(key)) == 3
    finally:
        servers.stop()


# --- live sessions ----------------------------------------------------------------------------------


async def test_live_sessions_are_counted_by_key_and_by_owner_on_all_gateways(redis_server):
    async with gateways(redis_server.url, 2, sessions=3) as (first, second):
        phone, desk = await first.key(sessions=2), await first.key()
        await second.ring.read()
        for gateway, key, sid in ((first, phone, "p1"), (second, phone, "p2"), (first, desk, "d1")):
            await gateway.limits.sessions.admit(key, sid, window_s=60)
            await gateway.limits.sessions.admit(key, sid, window_s=60)  # a repeat counts once
        for key, of, text in ((phone, "key", "The key has 2 live"), (desk, "owner", "LIMIT_SESSIONS")):
            with pytest.raises(TooManySessionsError, match=text) as refused:
                await second.limits.sessions.admit(key, "x", window_s=60)
            assert (refused.value.of, refused.value.retryable) == (of, True)
        await first.limits.sessions.release(desk, "d1")
        with pytest.raises(TooManySessionsError) as refused:
            await second.limits.sessions.admit(phone, "x", window_s=60)
        assert refused.value.of == "key"
        await second.limits.sessions.admit(phone, "p2", window_s=60, attached=True)  # resumed
        await second.limits.sessions.admit(desk, "d2", window_s=60)


async def test_many_that_open_at_once_do_not_exceed_the_limit(redis_server):
    async with gateways(redis_server.url, 2, sessions=5) as both:
        opening = [both[n % 2].limits.sessions.admit(MINE, f"s{n}", window_s=60) for n in range(40)]
        answers = await asyncio.gather(*opening, return_exceptions=True)
        assert sum(answer is None for answer in answers) == 5
        assert all(answer is None or isinstance(answer, TooManySessionsError) for answer in answers)


async def test_what_a_killed_gateway_held_is_free_after_a_while(redis_server, monkeypatch):
    monkeypatch.setattr("api_gateway.limits.sessions.SHORTEST_S", 1.0)
    async with gateways(redis_server.url, 2, sessions=1) as (killed, again):
        await killed.limits.sessions.admit(MINE, "lost", window_s=1)  # it isn't renewed
        with pytest.raises(TooManySessionsError):
            await again.limits.sessions.admit(MINE, "new", window_s=1)
        async with asyncio.timeout(LONG_S):
            while True:
                try:
                    await again.limits.sessions.admit(MINE, "new", window_s=1)
                    break
                except TooManySessionsError:
                    await asyncio.sleep(0.2)


# --- audio ------------------------------------------------------------------------------------------


async def test_audio_of_all_kinds_counts_for_the_day_and_the_month(redis_server, monkeypatch):
    monkeypatch.setattr("api_gateway.limits.audio.FRESH_S", 0.0)
    async with gateways(redis_server.url, audio_seconds_day=100, audio_seconds_month=150) as gateway:
        quotas = gateway.limits.quotas
        for what in ("live_ms", "omi_ms", "job_ms"):
            await quotas.check(MINE)
            await used(gateway, what, 34)
        with pytest.raises(
            QuotaExceededError, match=r"100 s of audio for today.*LIMIT_AUDIO_SECONDS_DAY"
        ) as over:
            await quotas.check(MINE)
        assert 1 <= over.value.retry_after_s <= 86_400
        assert (over.value.limit, over.value.of) == ("audio_seconds_day", "owner")
        assert over.value.retryable is False
        await quotas.check(Holder(OTHER))
        found = {quota.name: quota for quota in await quotas.quotas(MINE)}
        assert round(found["audio_seconds_month"].remaining) == 48
        await gateway.limits.owners.put(OWNER[:16], Limits(audio_seconds_day=0, audio_seconds_month=103))
        await quotas.check(MINE)
        await used(gateway, "job_ms", 1.5)
        with pytest.raises(QuotaExceededError, match="for this month"):
            await quotas.check(MINE)
        await gateway.limits.owners.put(OWNER[:16], Limits(audio_seconds_day=0, audio_seconds_month=0))
        await quotas.check(MINE)


async def test_a_session_is_warned_twice_and_then_ended(redis_server, monkeypatch):
    """By audio that isn't in the usage yet too, of all running sessions of the owner."""
    monkeypatch.setattr("api_gateway.limits.audio.FRESH_S", 0.0)
    async with gateways(redis_server.url, audio_seconds_day=100) as gateway:
        sessions = gateway.limits.sessions
        writers = [
            await gateway.sessions.open(sid, places=[PLACE], config={}, token="t", key=OWNER)
            for sid in ("one", "other")
        ]
        for sid in ("one", "other"):
            await sessions.admit(MINE, sid, window_s=60)
        one = sessions.meter(MINE, "one", window_s=60)
        other = sessions.meter(MINE, "other", window_s=60)

        async def send(number: int, seconds: int) -> None:
            for _ in range(seconds):
                await writers[number].append(bytes(2 * SAMPLE_RATE), 1000 * SAMPLE_RATE)

        await send(0, 40)
        await send(1, 39)
        assert await other.check() == await one.check() == []
        await send(0, 1)
        [low] = await one.check()
        assert (low.name, low.warning, round(low.remaining)) == ("audio_seconds_day", 80, 20)
        assert await one.check() == [], "warned once"
        await send(1, 15)
        assert [quota.warning for quota in await other.check()] == [95]
        assert [quota.warning for quota in await one.check()] == [95]
        with pytest.raises(QuotaExceededError):
            await used(gateway, "job_ms", 5)
            await one.check()
        with pytest.raises(QuotaExceededError):
            await sessions.admit(MINE, "third", window_s=60)
        await other.release()
        assert await other.check() == [], "a session that has ended isn't counted again"
        assert (await sessions.count(MINE))["owner"] == 1


async def test_a_keys_own_audio_is_counted_for_it_alone(redis_server, monkeypatch):
    monkeypatch.setattr("api_gateway.limits.audio.FRESH_S", 0.0)
    async with gateways(redis_server.url) as gateway:
        phone, desk = await gateway.key(audio_seconds_day=10), await gateway.key(audio_seconds_day=10)
        await used(gateway, f"key-{phone.key_id}_ms", 10)
        await used(gateway, "live_ms", 10)
        with pytest.raises(QuotaExceededError) as refused:
            await gateway.limits.quotas.check(phone)
        assert refused.value.of == "key"
        await gateway.limits.quotas.check(desk)


# --- jobs and files ---------------------------------------------------------------------------------


async def test_jobs_that_wait_are_limited_and_those_that_are_processed_are_not(redis_server):
    async with gateways(redis_server.url, 2, jobs_waiting=3) as (first, second):
        phone = await first.key(jobs_waiting=1)
        await second.ring.read()
        await first.submit(phone, "j1")
        await first.submit(phone, "j1")  # a repeat
        with pytest.raises(TooManyJobsError) as refused:
            await second.submit(phone, "j2")
        assert refused.value.of == "key"
        await second.submit(MINE, "j2")
        await second.submit(MINE, "j3")
        with pytest.raises(TooManyJobsError, match=r"3 jobs of the owner wait.*LIMIT_JOBS_WAITING"):
            await first.submit(MINE, "j4")
        await first.redis.hset(first.jobs.keys("j1").record, "state", "processing_audio")
        await first.submit(MINE, "j4")
        with pytest.raises(TooManyJobsError):
            await first.submit(phone, "j5")
        await first.redis.hset(first.jobs.keys("j2").record, "state", "completed")
        await first.submit(phone, "j5")
        assert await first.limits.jobs.count(phone) == {"owner": 3, "key": 1}
        await second.limits.jobs.refused(phone, "j5")
        assert await first.limits.jobs.count(phone) == {"owner": 2, "key": 0}


async def test_the_smallest_size_of_a_file_counts(redis_server):
    async with gateways(redis_server.url, upload_mb=5000) as gateway:
        assert gateway.limits.upload_bytes(MINE) == 2048 << 20, "the cluster's"
        await gateway.limits.owners.put(OWNER[:16], Limits(upload_mb=20))
        assert gateway.limits.upload_bytes(MINE) == 20 << 20
        assert gateway.limits.upload_bytes(await gateway.key(upload_mb=3)) == 3 << 20
        assert gateway.limits.upload_bytes(await gateway.key(upload_mb=30)) == 20 << 20


# --- all of them ------------------------------------------------------------------------------------


async def test_limits_of_owners_and_keys_change_in_running_gateways(redis_server):
    async with gateways(redis_server.url, 2, sessions=5) as (first, second):
        tasks = [
            asyncio.create_task(loop)
            for gateway in (first, second)
            for loop in (gateway.channels.run(), gateway.limits.owners.run(), gateway.ring.run())
        ]
        key = await first.key(sessions=4)
        await first.limits.owners.put(OWNER[:16], Limits(sessions=2))
        await first.ring.keys.limit(key.key_id, Limits(jobs_waiting=7))
        async with asyncio.timeout(LONG_S):
            while second.limits.allowances.of(key).owner.sessions != 2:
                await asyncio.sleep(0.05)
            while second.limits.allowances.of(key).key.jobs_waiting != 7:
                await asyncio.sleep(0.05)
        assert second.limits.allowances.of(key).key.sessions is None
        await second.limits.owners.remove(OWNER[:16])
        async with asyncio.timeout(LONG_S):
            while first.limits.allowances.of(key).owner.sessions != 5:
                await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.parametrize("record", ["{", "[]", '{"sessions":-1}'])
async def test_an_unreadable_record_of_one_owner_leaves_the_limits_of_others(redis_server, record):
    async with gateways(redis_server.url, sessions=5) as gateway:
        stored = {OWNER[:16]: record, OTHER[:16]: '{"sessions":2,"of_a_newer_release":1}'}
        await gateway.redis.hset(OWNER_LIMITS, mapping=stored)
        await gateway.limits.owners.read()
        sessions = [gateway.limits.allowances.of_owner(owner).sessions for owner in (OWNER, OTHER)]
        assert sessions == [5, 2]


async def test_the_report_has_every_limit_with_what_is_used(redis_server):
    default = {"sessions": 4, "requests_minute": 10, "audio_seconds_day": 100, "upload_mb": 7}
    async with gateways(redis_server.url, **default, jobs_waiting=2) as gateway:
        key = await gateway.key(sessions=2, audio_seconds_month=50)
        await gateway.limits.requests.take(key)
        await gateway.limits.sessions.admit(key, "s", window_s=60)
        await gateway.submit(key, "j")
        await used(gateway, "live_ms", 25)
        await used(gateway, f"key-{key.key_id}_ms", 20)
        gateway.limits.quotas._readers.clear()
        report = document_of(await gateway.limits.report(key))
        owner, own = report["owner"], report["key"]
        assert {name: (each["limit"], each.get("used")) for name, each in owner.items()} == {
            "sessions": (4, 1),
            "requests_minute": (10, 1),
            "audio_seconds_day": (100, 25.0),
            "upload_mb": (7, None),
            "jobs_waiting": (2, 1),
        }
        assert {name: (each["limit"], each["remaining"]) for name, each in own.items()} == {
            "sessions": (2, 1),
            "audio_seconds_month": (50, 30.0),
        }
        assert owner["audio_seconds_day"]["resets_at"].endswith("T00:00:00Z")
        assert own["audio_seconds_month"]["resets_at"].endswith("-01T00:00:00Z")
        assert owner["sessions"]["resets_at"] is None
        assert owner["requests_minute"]["resets_at"] > time.strftime("%Y-%m-%dT%H:%M", time.gmtime())
        assert document_of(await gateway.limits.report(Holder(OTHER)))["owner"]["sessions"]["used"] == 0
