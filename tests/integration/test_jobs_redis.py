"""Jobs in Redis: their order, their shares, who owns them, results in order and once, ends."""

import asyncio

import orjson
import pytest

from parlando.domain.job_options import JobOptions, JobStatus, Priority
from parlando.domain.transcript import FinalSegment
from parlando.errors import (
    AtCapacityError,
    ConflictError,
    EngineError,
    FencedError,
    JobEndedError,
    JobNotFoundError,
    UnavailableError,
)
from parlando.ids import job_id_for, new_job_id
from parlando.store import keys as names
from parlando.store.chunk_claims import ChunkClaims
from parlando.store.connection import connect
from parlando.store.job_claims import Chunk, JobClaims, JobLog
from parlando.store.job_store import Jobs, Source
from parlando.store.usage_keys import day, usage
from support.pools import POOL

WHAT = {"start": 0, "speech": [[0, 16_000]], "covered_samples": 16_000}


class Bench:
    """Everything that works on jobs, over one Redis."""

    def __init__(self, url: str) -> None:
        self.redis = connect(url)
        self.jobs = Jobs(self.redis, partitions=1, ttl_s=100, limit=50)
        self.processors = [self._processor(n) for n in range(2)]
        self.transcribers = [
            ChunkClaims(self.redis, pool=POOL, worker=f"t{n}", partitions=1, lease_s=0.1) for n in range(2)
        ]

    def _processor(self, number: int) -> JobClaims:
        return JobClaims(self.redis, worker=f"p{number}", partitions=1, lease_s=0.1)

    async def submit(self, key: str = "k", job: str | None = None, digest: str = "", **options) -> str:
        job = job or new_job_id()
        source = Source(f"blob-{job}", "a.wav", 10, digest)
        await self.jobs.submit(job, source, JobOptions(**options), pool=POOL, key=key)
        return job

    async def begin(self, number: int = 0):
        """The next job's claim and pen."""
        await self.processors[number].admit(room=True)
        (claim,) = await self.processors[number].take_new()
        return claim, JobLog(self.processors[number].scripts, claim)

    async def add(
        self, session_log: JobLog, index: int, *, limit: int = 64, language_first: bool = False
    ) -> bool:
        chunk = Chunk(index, WHAT, b"\1\0" * 10)
        return await session_log.add(
            chunk, limit=limit, position=16_000 * (index + 1), expected=0, language_first=language_first
        )

    async def take(self, number: int = 0):
        (claim,) = await self.transcribers[number].take_new(block_ms=100)
        return claim

    async def hear(self, claim, text: str, number: int = 0, language: str | None = "en") -> None:
        segment = FinalSegment(segment=0, start=0.0, end=1.0, text=text)
        await self.transcribers[number].done(claim, [segment] if text else [], language)

    async def texts(self, job: str) -> list[str]:
        return [segment.text async for segment in self.jobs.segments(job)]

    async def events(self, job: str) -> list[dict]:
        found = await self.redis.xrange(self.jobs.keys(job).events)
        return [orjson.loads(fields[b"e"]) for _, fields in found]


@pytest.fixture
async def bench(redis_server):
    bench = Bench(redis_server.url)
    for claims in (*bench.processors, *bench.transcribers):
        await claims.queue.ensure_groups()
    yield bench
    await bench.redis.aclose()


async def test_a_job_from_its_submission_to_its_result(bench):
    job = await bench.submit(words=True)
    assert (await bench.jobs.record(job)).status is JobStatus.UPLOADED
    claim, session_log = await bench.begin()
    assert (await bench.jobs.record(job)).status is JobStatus.PROCESSING_AUDIO
    assert await bench.add(session_log, 0)
    assert await bench.add(session_log, 1)
    await session_log.cut(32_000, 1)
    assert (await bench.jobs.record(job)).status is JobStatus.AUDIO_READY
    first, second = await bench.take(), await bench.take(1)
    assert first.options.words
    assert first.pcm == b"\1\0" * 10
    await bench.hear(second, "two", 1)
    assert await bench.texts(job) == []  # results come out in the order of the audio
    record = await bench.jobs.record(job)
    assert (record.status, record.progress) == (JobStatus.TRANSCRIBING, 0.0)
    await bench.hear(first, "one")
    await bench.processors[0].leave(claim)
    record = await bench.jobs.record(job)
    assert (record.status, record.progress, record.duration) == (JobStatus.COMPLETED, 1.0, 32_000)
    assert await bench.texts(job) == ["one", "two"]
    events = await bench.events(job)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events] == [
        "progress",
        "progress",
        "segments",
        "segments",
        "completed",
    ]
    shares = [event["progress"] for event in events]
    assert shares == sorted(shares)
    for left in (names.jobs(0), names.chunks(0, POOL)):
        assert await bench.redis.xlen(left) == 0
    assert await bench.redis.hgetall(names.shares(0, POOL)) == {}
    assert await bench.redis.exists(bench.jobs.keys(job).parts) == 0
    assert await bench.redis.ttl(bench.jobs.keys(job).record) <= 100


async def test_silence_is_a_job_without_words(bench):
    job = await bench.submit()
    _, session_log = await bench.begin()
    await session_log.cut(160_000, 1)
    assert (await bench.jobs.record(job)).status is JobStatus.COMPLETED
    assert await bench.texts(job) == []


async def test_the_waiting_are_served_fairly_among_keys(bench):
    """A key that comes late with one job doesn't wait for the two dozen of another."""
    for _ in range(24):
        await bench.submit("greedy")
    await bench.begin()
    modest = await bench.submit("modest")
    urgent = await bench.submit("greedy", priority=Priority.HIGH)
    order = [(await bench.begin())[0].keys.job for _ in range(4)]
    assert modest in order[:3]
    assert urgent in order[:3]


async def test_a_key_with_nothing_running_gets_in_where_there_is_no_room(bench):
    for _ in range(3):
        await bench.submit("greedy")
    await bench.begin()
    processor = bench.processors[0]
    assert not await processor.admit(room=False)
    modest = await bench.submit("modest")
    assert await processor.admit(room=False)
    (claim,) = await processor.take_new()
    assert claim.keys.job == modest


async def test_the_queue_of_chunks_is_shared_out_among_keys(bench):
    await bench.submit("a")
    _, a = await bench.begin()
    added = 0
    while await bench.add(a, added, limit=16):
        added += 1
    assert added == 16
    await bench.submit("b")
    _, b = await bench.begin()
    assert await bench.add(b, 0, limit=16)  # though the queue is full of another's
    for _ in range(7):
        await bench.hear(await bench.take(), "x")
    assert not await bench.add(a, added, limit=16)  # 9 of a's are left, more than its half
    for index in range(1, 8):
        assert await bench.add(b, index, limit=16)
    assert not await bench.add(b, 8, limit=16)


async def test_only_the_owner_adds_and_repeats_change_nothing(bench):
    await bench.submit()
    claim, old = await bench.begin()
    assert await bench.add(old, 0)
    assert await bench.add(old, 0)
    assert await bench.redis.xlen(names.chunks(0, POOL)) == 1
    await asyncio.sleep(0.15)
    (taken,) = await bench.processors[1].take_over(1)
    assert taken.epoch == claim.epoch + 1
    with pytest.raises(FencedError):
        await bench.add(old, 1)
    with pytest.raises(FencedError):
        await old.cut(1, 1)
    assert (await bench.processors[0].renew([claim]))[0].lost
    new = JobLog(bench.processors[1].scripts, taken)
    assert await bench.add(new, 0)  # begun anew: what's queued is skipped
    assert await bench.add(new, 1)
    assert await bench.redis.xlen(names.chunks(0, POOL)) == 2


async def test_a_job_on_which_three_processors_died_fails(bench):
    job = await bench.submit()
    await bench.begin()
    for number in (1, 0, 1):
        await asyncio.sleep(0.15)
        (claim,) = await bench.processors[number].take_over(1)
    record = await bench.jobs.record(job)
    assert record.status is JobStatus.FAILED
    assert record.error["code"] == "audio_failed"
    assert claim.record.status is JobStatus.FAILED  # whoever has it still deletes the audio


async def test_a_job_that_is_handed_back_costs_no_attempt(bench):
    job = await bench.submit()
    for _ in range(5):
        (await bench.processors[0].admit(room=True))
        (claim,) = await bench.processors[0].take_new()
        await bench.processors[0].hand_back(claim)
    assert (await bench.jobs.record(job)).attempts == 0
    assert await bench.redis.hgetall(names.shares(0, POOL)) == {
        b"job:k": b"1",
        b"keys": b"1",
    }


async def test_a_chunk_is_tried_three_times_then_its_job_fails_and_the_other_results_stay(bench):
    job = await bench.submit()
    _, session_log = await bench.begin()
    for index in range(2):
        await bench.add(session_log, index)
    await bench.hear(await bench.take(), "kept")
    for number in (0, 1):
        claim = await bench.take(number)
        assert claim.index == 1
        await bench.transcribers[number].failed(claim, EngineError("it broke"))
    claim = await bench.take()  # one dies
    await asyncio.sleep(0.15)
    assert await bench.transcribers[1].take_over(1) == []
    record = await bench.jobs.record(job)
    assert record.status is JobStatus.FAILED
    assert record.error == {"code": "chunk_failed", "message": "Chunk 1 failed 3 times: it broke"}
    assert await bench.texts(job) == ["kept"]
    with pytest.raises(JobEndedError):
        await bench.add(session_log, 2)
    await bench.hear(claim, "too late")
    assert await bench.texts(job) == ["kept"]


async def test_a_chunk_of_a_dead_worker_goes_to_another_and_counts_once(bench):
    job = await bench.submit()
    _, session_log = await bench.begin()
    await bench.add(session_log, 0)
    await session_log.cut(16_000, 1)
    slow = await bench.take()
    assert await bench.transcribers[1].take_over(1) == []  # its lease runs
    await asyncio.sleep(0.15)
    (taken,) = await bench.transcribers[1].take_over(1)
    assert (taken.index, taken.pcm) == (slow.index, slow.pcm)
    await bench.hear(taken, "first", 1)
    await bench.hear(slow, "second")
    assert await bench.texts(job) == ["first"]
    assert await bench.redis.hget(names.shares(0, POOL), "chunk:k") is None


async def test_a_kept_lease_is_not_taken_over(bench):
    await bench.submit()
    _, session_log = await bench.begin()
    await bench.add(session_log, 0)
    claim = await bench.take()
    for _ in range(5):
        await asyncio.sleep(0.05)
        await bench.transcribers[0].renew([claim])
        assert await bench.transcribers[1].take_over(1) == []


async def test_cancelling_removes_everything_and_tells_who_listens(bench):
    job = await bench.submit()
    _, session_log = await bench.begin()
    await bench.add(session_log, 0)
    await bench.add(session_log, 1)
    claim = await bench.take()
    await bench.hear(claim, "secret")
    record = await bench.jobs.record(job)
    await bench.jobs.cancel(record)
    assert (await bench.jobs.record(job)).status is JobStatus.CANCELLED
    assert await bench.redis.xlen(names.chunks(0, POOL)) == 0
    assert [event["type"] for event in await bench.events(job)] == ["cancelled"]
    assert await bench.texts(job) == []
    with pytest.raises(JobEndedError):
        await bench.add(session_log, 2)
    await bench.jobs.forget(record)
    with pytest.raises(JobNotFoundError):
        await bench.jobs.record(job)
    assert (await bench.jobs.newest("k", before=None, limit=9)).records == []


async def test_a_waiting_job_that_is_cancelled_is_never_begun(bench):
    job = await bench.submit()
    await bench.jobs.cancel(await bench.jobs.record(job))
    assert not await bench.processors[0].admit(room=True)
    assert await bench.jobs.waiting() == 0


async def test_a_repeat_gives_the_first_job_unless_its_audio_differs(bench):
    job = job_id_for("k", "once")
    assert job == job_id_for("k", "once") != job_id_for("other", "once")
    source, options = Source("b", "a.wav", 1, digest="d1"), JobOptions()
    assert await bench.jobs.submit(job, source, options, pool=POOL, key="k")
    assert not await bench.jobs.submit(job, source, options, pool=POOL, key="k")
    with pytest.raises(ConflictError):
        await bench.jobs.submit(job, Source("b", "a.wav", 1, digest="d2"), options, pool=POOL, key="k")
    assert await bench.jobs.waiting() == 1


async def test_too_many_waiting_are_refused(bench):
    for _ in range(50):
        await bench.submit()
    with pytest.raises(AtCapacityError):
        await bench.submit()


async def test_later_chunks_wait_for_the_language_of_the_first(bench):
    await bench.submit()
    _, session_log = await bench.begin()
    assert await bench.add(session_log, 0, language_first=True)
    assert not await bench.add(session_log, 1, language_first=True)
    await bench.hear(await bench.take(), "hallo", language="de")
    assert await bench.add(session_log, 1, language_first=True)
    assert (await bench.take()).language == "de"


async def test_a_first_chunk_without_words_holds_nobody_up(bench):
    await bench.submit()
    _, session_log = await bench.begin()
    await bench.add(session_log, 0, language_first=True)
    await bench.hear(await bench.take(), "", language=None)
    assert await bench.add(session_log, 1, language_first=True)
    claim = await bench.take()
    assert not claim.language
    await bench.hear(claim, "salut", language="fr")
    assert (await bench.jobs.record(claim.keys.job)).language == "fr"


async def test_jobs_are_listed_newest_first_by_key(bench):
    mine = []
    for _ in range(3):
        mine.append(await bench.submit("me"))
        await asyncio.sleep(0.002)
    await bench.submit("you")
    page = await bench.jobs.newest("me", before=None, limit=2)
    assert [record.job for record in page.records] == mine[:0:-1]
    rest = await bench.jobs.newest("me", before=page.next, limit=2)
    assert [record.job for record in rest.records] == mine[:1]
    assert rest.next is None


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_no_job_is_lost_between_pages_although_many_came_in_one_millisecond(bench, limit):
    mine = {await bench.submit("me") for _ in range(7)}
    listed = names.job_list(0, "me")
    await bench.redis.zadd(listed, dict.fromkeys(mine, 1_800_000_000_000))
    expired = sorted(mine)[3]
    await bench.redis.delete(bench.jobs.keys(expired).record)
    found, before = [], None
    while True:
        page = await bench.jobs.newest("me", before=before, limit=limit)
        found += [record.job for record in page.records]
        before = page.next
        if before is None:
            break

    assert found == sorted(mine - {expired}, reverse=True)


async def test_usage_and_callbacks_are_noted_at_the_end(same_day, bench):
    await bench.submit(callback_url="https://example.org/hook")
    _, session_log = await bench.begin()
    await session_log.cut(32_000, 1)
    assert await bench.redis.hgetall(usage(0, day())) == {
        b"k:jobs": b"1",
        b"k:files": b"1",
        b"k:job_ms": b"2000",
    }
    [(_, told)] = await bench.redis.xrange(names.feed(0))
    assert (told[b"kind"], told[b"wanted"]) == (b"job_completed", b"1")


async def test_redis_without_memory_says_so_and_goes_on_when_it_has_some(bench):
    job = await bench.submit()
    _, session_log = await bench.begin()
    await bench.redis.config_set("maxmemory", "1")
    with pytest.raises(UnavailableError, match="out of memory"):
        await bench.add(session_log, 0)
    with pytest.raises(UnavailableError, match="out of memory"):
        await bench.submit()
    await bench.redis.config_set("maxmemory", "0")
    assert await bench.add(session_log, 0)
    await session_log.cut(16_000, 1)
    await bench.hear(await bench.take(), "all there")
    assert await bench.texts(job) == ["all there"]
