"""Sessions and jobs that were accepted before any transcriber ran: each gets a pool that can do it, once."""

import asyncio

import pytest

from parlando.domain.config import SessionConfig
from parlando.domain.job_options import JobOptions, JobStatus
from parlando.domain.pools import UNASSIGNED
from parlando.errors import AtCapacityError
from parlando.store import keys as names
from parlando.store.history import History
from parlando.store.job_claims import JobClaims
from parlando.store.job_store import Jobs, Source
from parlando.store.keys import LONG_TTL_S
from parlando.store.pools import Place
from parlando.store.session_log import SessionClaims
from parlando.store.sessions import Sessions
from parlando.store.unassigned import Unassigned
from support.pools import alive, report

A, B = "moonshine-tiny", "whisper-base"
MOONSHINE = report("moonshine", "tiny", languages=["en"])
BASE = report("faster-whisper", "base", languages=["de", "en"], tasks=["transcribe", "translate"])
PARTITIONS = 5
WAITING = [Place(UNASSIGNED, 1000)]


@pytest.fixture
def sessions(redis):
    return Sessions(redis, partitions=PARTITIONS, ttl_s=100)


@pytest.fixture
def jobs(redis):
    return Jobs(redis, partitions=PARTITIONS, ttl_s=100, limit=1000)


async def opened(sessions: Sessions, sid: str, **config: str) -> None:
    wanted = SessionConfig(**config).model_dump(exclude_none=True)
    await sessions.open(sid, places=WAITING, config=wanted, token="t", key="k")


async def claimed(redis, pool: str) -> list[str]:
    """The sessions that a transcriber of a pool claims."""
    claims = SessionClaims(redis, pool=pool, worker=pool, partitions=PARTITIONS, ttl_s=100)
    await claims.queue.ensure_groups()
    return sorted(await taken(claims))


async def taken(claims: SessionClaims | JobClaims) -> list[str]:
    """The names of all work in a queue, taken by one worker."""
    found: list[str] = []
    while page := await claims.take_new():
        found += [claim.name for claim in page]
    return found


async def test_one_of_several_transcribers_adopts_each_session(redis, sessions):
    """More than a page of them in every partition; all look at the same time, again and again."""
    sids = sorted(f"s{number}" for number in range(150 * PARTITIONS))
    for sid in sids:
        await opened(sessions, sid)
    assert await sessions.open_by_pool() == {UNASSIGNED: len(sids)}
    assert min([await redis.xlen(names.sessions(p, UNASSIGNED)) for p in range(PARTITIONS)]) > 100
    await alive(redis, BASE)

    transcribers = [Unassigned(redis, partitions=PARTITIONS) for _ in range(4)]
    moved = await asyncio.gather(*(each.adopt_sessions(B) for each in transcribers))

    assert sum(moved) == len(sids)
    assert await sessions.open_by_pool() == {B: len(sids)}
    assert await claimed(redis, B) == sids
    assert (await History(redis, partitions=PARTITIONS).record("s0")).pool == B
    assert [await each.adopt_sessions(B) for each in transcribers] == [0] * 4


async def test_a_session_is_adopted_only_by_a_pool_that_can_do_it(redis, sessions):
    await opened(sessions, "english", language="en")
    await opened(sessions, "german", language="de")
    await opened(sessions, "french", language="fr")
    await opened(sessions, "unknown")
    await opened(sessions, "translated", language="en", task="translate")
    unassigned = Unassigned(redis, partitions=PARTITIONS)
    assert await unassigned.adopt_sessions(B) == 0, "its first heartbeat is still to come"
    await alive(redis, MOONSHINE, BASE)

    assert await unassigned.adopt_sessions(A) == 1
    assert await unassigned.adopt_sessions(B) == 3
    assert await claimed(redis, A) == ["english"]
    assert await claimed(redis, B) == ["german", "translated", "unknown"]
    assert await sessions.open_by_pool() == {A: 1, B: 3, UNASSIGNED: 1}
    [waiting] = [
        record
        for record in await History(redis, partitions=PARTITIONS).live("k")
        if record.pool == UNASSIGNED
    ]
    assert waiting.sid == "french"


async def test_a_session_that_has_ended_or_was_opened_again_in_a_pool_is_not_adopted(redis, sessions):
    """Its entry is removed."""
    for sid in ("gone", "closed", "again"):
        await opened(sessions, sid)
    await redis.delete(sessions.keys("gone").session)
    await redis.hset(sessions.keys("closed").session, "state", "closed")
    await redis.hset(sessions.keys("again").session, "state", "closed")
    await sessions.open("again", places=[Place(A)], config={}, token="t", key="k")
    await alive(redis, BASE)

    assert await Unassigned(redis, partitions=PARTITIONS).adopt_sessions(B) == 0
    assert await claimed(redis, B) == []
    assert await claimed(redis, A) == ["again"]
    assert await sessions.open_by_pool() == {B: 0}


async def test_unassigned_sessions_have_a_limit_and_a_lifetime(redis):
    sessions = Sessions(redis, partitions=1, ttl_s=100)
    for sid in ("a", "b"):
        await sessions.open(sid, places=[Place(UNASSIGNED, 2)], config={}, token="t")

    with pytest.raises(AtCapacityError):
        await sessions.open("c", places=[Place(UNASSIGNED, 2)], config={}, token="t")
    assert LONG_TTL_S - 100 < await redis.ttl(names.sessions(0, UNASSIGNED)) <= LONG_TTL_S


# --- jobs ---------------------------------------------------------------------------------------------


def job(number: int) -> str:
    return f"j_{number:030d}"


async def submitted(jobs: Jobs, number: int, **options: str) -> str:
    name = job(number)
    await jobs.submit(name, Source("blob", "a.wav"), JobOptions(**options), pool=UNASSIGNED, key="k")
    return name


async def admitted(redis, jobs: Jobs) -> list[tuple[str, str]]:
    """The jobs that an audio-processor admits, with their pools."""
    processor = JobClaims(redis, worker="p", partitions=PARTITIONS, lease_s=60)
    await processor.queue.ensure_groups()
    while await processor.admit(room=True):
        pass
    return sorted([(name, (await jobs.record(name)).pool) for name in await taken(processor)])


async def test_each_job_gets_one_pool_that_can_do_it(redis, jobs):
    french = [await submitted(jobs, number, language="fr") for number in range(600)]  # more than a page
    english = await submitted(jobs, 600, language="en")
    german = await submitted(jobs, 601, language="de")
    assert (await jobs.waiting(), await jobs.unassigned()) == (0, 602)
    assert await admitted(redis, jobs) == []

    processors = [Unassigned(redis, partitions=PARTITIONS) for _ in range(3)]
    assert [await each.assign_jobs([]) for each in processors] == [0, 0, 0]
    moved = await asyncio.gather(*(each.assign_jobs([MOONSHINE, BASE]) for each in processors))

    assert sum(moved) == 2
    assert (await jobs.waiting(), await jobs.unassigned()) == (2, len(french))
    assert await admitted(redis, jobs) == [(english, A), (german, B)]
    assert (await jobs.record(french[0])).pool == UNASSIGNED


async def test_jobs_are_assigned_once_and_admitted_fairly_in_the_order_of_their_submission(redis):
    """They wait like jobs that were submitted when they got their pool: the keys alternate."""
    jobs = Jobs(redis, partitions=1, ttl_s=100, limit=1000)
    for number in range(6):
        key = "k" if number < 4 else "other"
        await jobs.submit(job(number), Source("blob", "a.wav"), JobOptions(), pool=UNASSIGNED, key=key)
    processors = [Unassigned(redis, partitions=1) for _ in range(3)]
    moved = await asyncio.gather(*(each.assign_jobs([BASE]) for each in processors))

    assert sum(moved) == 6
    line = [member.decode().rpartition(":")[2] for member in await redis.zrange(names.waiting(0), 0, -1)]
    places = [line.index(job(number)) for number in range(4)]
    assert sorted(line) == [job(number) for number in range(6)]
    assert places == sorted(places)
    assert {job(0), job(4)} == set(line[:2])
    assert {job(1), job(5)} == set(line[2:4])
    for name in (names.waiting(0), names.flows(0)):
        assert 0 < await redis.ttl(name) <= LONG_TTL_S


async def test_a_job_can_be_cancelled_before_and_while_it_gets_a_pool(redis, jobs):
    first, second = await submitted(jobs, 1), await submitted(jobs, 2)
    early = await jobs.record(second)
    await jobs.cancel(await jobs.record(first))
    assert await jobs.unassigned() == 1
    assert await Unassigned(redis, partitions=PARTITIONS).assign_jobs([BASE]) == 1
    await jobs.cancel(early)  # the record was read before

    assert (await jobs.waiting(), await jobs.unassigned()) == (0, 0)
    for name, pool in ((first, UNASSIGNED), (second, B)):
        record = await jobs.record(name)
        assert (record.status, record.pool) == (JobStatus.CANCELLED, pool)
    assert await admitted(redis, jobs) == []
