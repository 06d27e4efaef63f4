"""Pools in a real Redis: each has its own queues and capacity, and takes over only its own work."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from api_gateway.admission import Admission
from api_gateway.http import openai_transcriptions
from parlando.domain.config import SessionConfig
from parlando.domain.formats import AudioFormat
from parlando.domain.job_options import JobOptions
from parlando.domain.pools import UNASSIGNED
from parlando.domain.transcript import FinalSegment
from parlando.errors import AtCapacityError, InvalidRequestError
from parlando.store import keys as names
from parlando.store.chunk_claims import ChunkClaims
from parlando.store.heartbeat import delete_heartbeat
from parlando.store.history import History
from parlando.store.job_claims import Chunk, JobClaims, JobLog
from parlando.store.job_store import Jobs, Source
from parlando.store.keys import LONG_TTL_S
from parlando.store.pools import Place, known_pools
from parlando.store.session_log import SessionClaims
from parlando.store.sessions import Continued, Sessions
from support.pools import alive, report

A, B = "moonshine-tiny", "whisper-base"
MOONSHINE = report("moonshine", "tiny", languages=["en"], capacity=2)
BASE = report("faster-whisper", "base", languages=["de", "en"], capacity=2)
LEASE_S = 0.1
PARTITIONS = 5


@pytest.fixture
def sessions(redis):
    return Sessions(redis, partitions=PARTITIONS, ttl_s=100)


@pytest.fixture
def admission(redis, monkeypatch):
    monkeypatch.setattr("api_gateway.admission.FRESH_S", 0.0)
    return Admission(History(redis, partitions=PARTITIONS))


async def transcriber(redis, pool: str, name: str = "") -> SessionClaims:
    claims = SessionClaims(
        redis, pool=pool, worker=name or pool, partitions=PARTITIONS, ttl_s=100, lease_s=LEASE_S
    )
    await claims.queue.ensure_groups()
    return claims


async def taken_over(claims) -> list[str]:
    """The names of the work that a worker takes over, from all partitions."""
    found = []
    for _ in range(claims.queue.rounds):
        found += [claim.name for claim in await claims.take_over(100)]
    return sorted(found)


async def test_a_transcriber_takes_only_sessions_of_its_pool(redis, sessions):
    a, b = await transcriber(redis, A), await transcriber(redis, B)
    for number in range(6):
        writer = await sessions.open(
            f"s{number}", places=[Place(A if number % 2 else B)], config={}, token="t"
        )
        assert writer.pool == (A if number % 2 else B)

    taken = [claim.name for _ in range(4) for claim in await a.take_new(block_ms=10)]
    assert sorted(taken) == ["s1", "s3", "s5"]
    taken = [claim.name for _ in range(4) for claim in await b.take_new(block_ms=10)]
    assert sorted(taken) == ["s0", "s2", "s4"]
    assert (await History(redis, partitions=PARTITIONS).record("s1")).pool == A


async def test_overdue_sessions_are_taken_over_only_in_their_pool(redis, sessions):
    dead, b = await transcriber(redis, A, "dead"), await transcriber(redis, B)
    for number in range(8):
        await sessions.open(f"s{number}", places=[Place(A)], config={}, token="t")
    held = [claim for _ in range(8) for claim in await dead.take_new(block_ms=10)]
    assert len(held) == 8
    await asyncio.sleep(2 * LEASE_S)

    assert await taken_over(b) == []
    assert await b.take_new(block_ms=10) == []
    assert await taken_over(await transcriber(redis, A, "heir")) == [f"s{number}" for number in range(8)]


async def test_a_session_that_is_handed_back_or_ends_stays_in_its_pools_queue(redis, sessions):
    await alive(redis, MOONSHINE, BASE)
    a, b = await transcriber(redis, A), await transcriber(redis, B)
    await sessions.open("s", places=[Place(A)], config={}, token="t")
    [claim] = await a.take_new(block_ms=10)
    await a.hand_back(claim)

    assert await b.take_new(block_ms=10) == []
    [claim] = await (await transcriber(redis, A, "other")).take_new(block_ms=10)
    assert await sessions.open_by_pool() == {A: 1, B: 0}
    await a.own(claim).commit([], decoded=0, segments=0, close=True)
    assert await sessions.open_by_pool() == {A: 0, B: 0}


async def test_a_session_that_is_opened_again_in_another_pool_is_not_claimed_in_the_first(redis, sessions):
    """Redis lost its last writes, and its client continues in the pool that is free now."""
    a, b = await transcriber(redis, A), await transcriber(redis, B)
    await sessions.open("s", places=[Place(A)], config={}, token="t")
    await sessions.open("s", places=[Place(B)], config={}, token="t", continued=Continued(seq=3))

    assert await a.take_new(block_ms=10) == []
    assert await redis.xlen(names.sessions(sessions.keys("s").partition, A)) == 0
    [claim] = await b.take_new(block_ms=10)
    assert (claim.name, claim.pool) == ("s", B)


async def test_each_pool_has_its_own_capacity_and_a_full_one_passes_the_session_on(redis):
    sessions = Sessions(redis, partitions=1, ttl_s=100)
    places = [Place(A, 2), Place(B, 1)]
    opened = [
        (await sessions.open(f"s{number}", places=places, config={}, token="t")).pool for number in range(3)
    ]

    assert opened == [A, A, B]
    with pytest.raises(AtCapacityError, match="All transcribers are busy"):
        await sessions.open("s3", places=places, config={}, token="t")
    with pytest.raises(AtCapacityError):
        await sessions.open("s3", places=places[:1], config={}, token="t")
    assert not await redis.exists(sessions.keys("s3").session)


async def test_concurrent_openings_never_exceed_a_pools_capacity(redis):
    sessions = Sessions(redis, partitions=1, ttl_s=100)
    await alive(redis, MOONSHINE, BASE)

    async def opening(number: int) -> str:
        try:
            places = [Place(A, 7), Place(B, 5)]
            return (await sessions.open(f"s{number}", places=places, config={}, token="t")).pool
        except AtCapacityError:
            return ""

    found = await asyncio.gather(*(opening(number) for number in range(40)))
    assert [found.count(pool) for pool in (A, B, "")] == [7, 5, 28]
    assert await sessions.open_by_pool() == {A: 7, B: 5}


async def test_the_gateway_chooses_by_language_task_and_free_places(redis, admission, sessions):
    await alive(redis, MOONSHINE, BASE)
    raw = AudioFormat()

    assert await admission.places(raw, ["en"]) == [Place(A, 2), Place(B, 2)]
    assert await admission.places(raw, ["de"]) == [Place(B, 2)]
    assert await admission.places(raw, []) == [Place(B, 2)]
    with pytest.raises(InvalidRequestError, match="but got fr; it has moonshine-tiny"):
        await admission.places(raw, ["fr"])
    with pytest.raises(AtCapacityError, match="No audio-processor"):
        await admission.places(AudioFormat(normalize=True), ["de"])
    assert await admission.patient_places([], waiting=10) == [Place(B, 2), Place(B, 12)]
    await admission.check_change(B, SessionConfig(language="de"))
    with pytest.raises(InvalidRequestError, match=r"the session's engine supports \(en\), but got en,de"):
        await admission.check_change(A, SessionConfig(language="en,de"))
    with pytest.raises(InvalidRequestError, match="can't translate"):
        await admission.check_change(A, SessionConfig(translations="en"))


async def test_work_that_may_wait_gets_the_pool_that_was_alive_before(redis, admission, sessions):
    assert await admission.patient_places([], waiting=10) == [Place(UNASSIGNED, 10)]
    assert await admission.patient_pools(["de"]) == [UNASSIGNED]
    await alive(redis, MOONSHINE)
    await delete_heartbeat(redis, MOONSHINE["worker"])

    assert await admission.patient_places([], waiting=10) == [Place(A, 0), Place(A, 10)]
    assert await admission.patient_pools(["en"]) == [A]
    with pytest.raises(AtCapacityError, match="No transcriber is running"):
        await admission.places(AudioFormat(), ["en"])
    await sessions.open("s", places=[Place(A)], config={}, token="t", key="k")
    assert await sessions.open_by_pool() == {A: 1}
    [record] = await History(redis, partitions=PARTITIONS).live("k")
    assert (record.sid, record.pool) == ("s", A)


async def test_work_for_a_pool_that_restarts_is_not_refused_as_invalid(redis, admission, monkeypatch):
    """Its only transcriber has ended; German is not known to anybody else."""
    await alive(redis, MOONSHINE, BASE)
    await delete_heartbeat(redis, BASE["worker"])

    assert await admission.places(AudioFormat(), ["en"]) == [Place(A, 2)]
    with pytest.raises(AtCapacityError, match="No transcriber of the pool whisper-base"):
        await admission.places(AudioFormat(), ["de"])
    with pytest.raises(InvalidRequestError, match="but got fr; it has moonshine-tiny"):
        await admission.places(AudioFormat(), ["fr"])
    services: Any = SimpleNamespace(admission=admission, settings=SimpleNamespace(model_names=()))
    for model, language in ((B, "de"), (B, "en"), (None, "de")):
        with pytest.raises(AtCapacityError, match="No transcriber of the pool whisper-base"):
            await openai_transcriptions.pool_for(services, model, JobOptions(language=language))
    with pytest.raises(openai_transcriptions.ParamError, match="does not exist here"):
        await openai_transcriptions.pool_for(services, "whisper-large", JobOptions())
    with pytest.raises(openai_transcriptions.ParamError, match="but got de"):
        await openai_transcriptions.pool_for(services, A, JobOptions(language="de"))
    assert await admission.patient_places(["de"], waiting=10) == [Place(B, 0), Place(B, 10)]
    assert await admission.patient_pools(["de"]) == [B]
    assert await admission.language_or_none("de") == "de"

    monkeypatch.setattr("api_gateway.admission.RESTART_S", -1.0)  # a minute later
    with pytest.raises(InvalidRequestError, match="but got de; it has moonshine-tiny"):
        await admission.places(AudioFormat(), ["de"])
    with pytest.raises(InvalidRequestError, match="but got de"):
        await admission.patient_pools(["de"])
    assert await admission.language_or_none("de") is None


async def test_a_pool_that_no_longer_exists_leaves_nothing(redis, sessions, monkeypatch):
    a = await transcriber(redis, A)
    chunks = ChunkClaims(redis, pool=A, worker="a", partitions=PARTITIONS, lease_s=LEASE_S)
    await chunks.queue.ensure_groups()
    await alive(redis, MOONSHINE, BASE)
    queues = [queue(p, A) for p in range(PARTITIONS) for queue in (names.sessions, names.chunks)]
    for queue in queues:
        assert LONG_TTL_S - 100 < await redis.ttl(queue) <= LONG_TTL_S
        await redis.expire(queue, 100)
    for claims in (a, chunks):  # a living worker does this once an hour
        await claims.queue.tidy()
    for queue in queues:
        assert LONG_TTL_S - 100 < await redis.ttl(queue) <= LONG_TTL_S
        await redis.expire(queue, 100)
    await sessions.open("s", places=[Place(A)], config={}, token="t")
    assert await redis.ttl(names.sessions(sessions.keys("s").partition, A)) > LONG_TTL_S - 100

    assert [pool["pool"] for pool in await known_pools(redis)] == [A, B]
    monkeypatch.setattr("parlando.store.pools.LONG_TTL_S", -1)  # a week later
    assert await known_pools(redis) == []
    assert not await redis.exists(names.POOLS)


class JobBench:
    """Jobs of one key in two pools, cut by one audio-processor."""

    def __init__(self, redis) -> None:
        self.redis = redis
        self.jobs = Jobs(redis, partitions=1, ttl_s=100, limit=10)
        self.processor = JobClaims(redis, worker="p", partitions=1, lease_s=60)
        self.transcribers = {
            pool: ChunkClaims(redis, pool=pool, worker=pool, partitions=1, lease_s=LEASE_S) for pool in (A, B)
        }

    async def prepare(self) -> None:
        for claims in (self.processor, *self.transcribers.values()):
            await claims.queue.ensure_groups()

    async def submit(self, name: str, pool: str) -> str:
        job = f"j_{name * 30}"
        await self.jobs.submit(job, Source("blob", "a.wav"), JobOptions(), pool=pool, key="k")
        return job

    async def cut(self, chunks: int) -> JobLog:
        """Claim the job that was admitted last, and queue as many chunks."""
        [claim] = await self.processor.take_new()
        job = JobLog(self.processor.scripts, claim)
        for index in range(chunks):
            assert await self.add(job, index)
        return job

    async def add(self, job: JobLog, index: int) -> bool:
        chunk = Chunk(index, {"start": 0, "speech": [], "covered_samples": 16_000}, b"\1\0" * 16_000)
        return await job.add(chunk, limit=4, position=1, expected=0, language_first=False)


@pytest.fixture
async def bench(redis):
    made = JobBench(redis)
    await made.prepare()
    return made


async def test_chunks_go_to_the_pool_of_their_job_and_are_taken_over_only_in_it(bench):
    job = await bench.submit("a", A)
    await bench.processor.admit(room=True)
    await (await bench.cut(1)).cut(16_000, 1)

    assert await bench.transcribers[B].take_new(block_ms=10) == []
    [lost] = await bench.transcribers[A].take_new(block_ms=10)
    await asyncio.sleep(2 * LEASE_S)
    assert await taken_over(bench.transcribers[B]) == []
    heir = ChunkClaims(bench.redis, pool=A, worker="heir", partitions=1, lease_s=LEASE_S)
    [chunk] = await heir.take_over(10)
    await heir.hand_back(chunk)
    assert await bench.transcribers[B].take_new(block_ms=10) == []
    [chunk] = await heir.take_new(block_ms=10)
    assert chunk.name == lost.name
    await heir.done(chunk, [FinalSegment(segment=0, start=0, end=1, text="hello")], "en")
    record = await bench.jobs.record(job)
    assert (record.status, record.pool) == ("completed", A)
    assert await bench.redis.hgetall(names.shares(0, A)) == {
        b"job:" + record.key[:16].encode(): b"1",
        b"keys": b"1",
    }


async def test_the_jobs_of_a_slow_pool_take_no_room_from_another_pool(bench):
    """A key has filled the slow pool's queue and its usual number of jobs; its job for the other runs."""
    await bench.submit("a", B)
    await bench.submit("b", B)
    fast = await bench.submit("c", A)
    assert await bench.processor.admit(room=True)
    slow = await bench.cut(4)
    assert not await bench.add(slow, 4)

    assert await bench.processor.admit(room=False)  # the key has a running job in B only
    job = await bench.cut(4)
    assert [claim.name for claim in await bench.transcribers[A].take_new(block_ms=10)] == [f"{fast}/0"]
    assert not await bench.processor.admit(room=False)
    await job.cut(16_000, 1)
    assert await bench.jobs.waiting() == 1
    await bench.jobs.cancel(await bench.jobs.record("j_" + "b" * 30))
    assert await bench.jobs.waiting() == 0
