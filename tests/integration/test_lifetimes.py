"""What is left in Redis of what nobody comes back to: nothing, after its time."""

import asyncio

import pytest

from parlando.domain.audio import Encoding
from parlando.domain.commands import Flush
from parlando.domain.formats import AudioFormat
from parlando.domain.job_options import JobOptions
from parlando.errors import AtCapacityError
from parlando.store import keys as names
from parlando.store.chunk_claims import ChunkClaims
from parlando.store.conversion_claims import ConversionClaims
from parlando.store.http_audio import HttpAudio
from parlando.store.job_claims import Chunk, JobClaims, JobLog
from parlando.store.job_store import Jobs, Source
from parlando.store.keys import LONG_TTL_S
from parlando.store.session_log import SessionClaims
from parlando.store.usage_keys import USAGE_TTL_S, day, usage
from support.lifetimes import complain, staying
from support.pools import PLACE, POOL

SECOND = b"\1\0" * 16_000
MOST = 1 << 30
MULAW = AudioFormat(encoding=Encoding.MULAW)


async def _lifetimes(redis, *beside: str) -> dict[str, int]:
    """Seconds that keys have left, but for the queues and stored answers."""
    found = {key.decode(): await redis.ttl(key) for key in await redis.keys("stt:*")}
    queues = (f"sessions:{POOL}", "intake", "jobs", f"chunks:{POOL}", "feed", *beside)
    return {
        key: left
        for key, left in found.items()
        if not key.endswith(tuple(f"}}:{queue}" for queue in queues)) and ":answer:" not in key
    }


@pytest.mark.parametrize("form", [AudioFormat(), MULAW])
async def test_nothing_remains_of_a_session_that_no_worker_takes(same_day, redis, sessions, form):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t", form=form)
    await writer.append(SECOND, MOST)
    await writer.command(Flush())

    left = await _lifetimes(redis)
    assert 0 < left.pop(usage(0, day())) <= USAGE_TTL_S
    assert len(left) == 2  # the hash, and the audio
    assert all(0 < seconds <= 100 for seconds in left.values()), left


async def test_audio_lives_as_long_as_somebody_keeps_the_session(redis, sessions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t", form=MULAW)
    await writer.append(SECOND, MOST)
    claims = SessionClaims(redis, pool=POOL, worker="t", partitions=1, ttl_s=5000)
    intakes = ConversionClaims(redis, worker="p", partitions=1, ttl_s=5000)
    for each in (claims, intakes):
        await each.queue.ensure_groups()
    held = await claims.take_new(block_ms=100)
    [intake] = await intakes.take_new(block_ms=100)
    await intakes.own(intake).emit(SECOND, max_backlog=MOST, converted=1, needed=0, state={})
    keys = sessions.keys("s")
    assert 0 < await redis.ttl(keys.pcm) <= 100

    await claims.renew(held)
    for key in (keys.session, keys.pcm, keys.raw):
        assert await redis.ttl(key) > 4000
    await writer.touch()
    for key in (keys.session, keys.pcm, keys.raw):
        assert 0 < await redis.ttl(key) <= 100


async def test_a_user_whose_session_could_not_be_opened_is_forgotten_too(redis, sessions):
    async def refused(sid: str, form: AudioFormat):
        raise AtCapacityError("no room")

    bodies = HttpAudio(sessions, max_s=100, idle_s=60)
    with pytest.raises(AtCapacityError):
        await bodies.take("k", "u", 16_000, SECOND, name="n", named=True, opening=refused)
    await bodies.refused_signature("k", "other")

    left = await _lifetimes(redis)
    assert len(left) == 2
    assert all(0 < seconds <= LONG_TTL_S for seconds in left.values()), left


async def test_everything_of_a_body_has_a_lifetime(same_day, redis, sessions):
    async def opening(sid: str, form: AudioFormat):
        return await sessions.open(
            sid, places=[PLACE], config={}, token="t", key="k", form=form, uid="u", metered=True
        )

    bodies = HttpAudio(sessions, max_s=100, idle_s=60)
    await bodies.take("k", "u", 16_000, SECOND, name="n", named=True, opening=opening)

    left = await _lifetimes(redis)
    used = left.pop(usage(names.UserKeys.of("k", "u", 1).partition, day()))
    assert USAGE_TTL_S - 1000 < used <= USAGE_TTL_S
    assert len(left) == 7, left
    assert all(0 < seconds <= LONG_TTL_S for seconds in left.values()), left


async def test_everything_of_a_job_that_is_never_finished_has_a_lifetime(redis):
    jobs = Jobs(redis, partitions=1, ttl_s=100, limit=10)
    processor = JobClaims(redis, worker="p", partitions=1, lease_s=60)
    transcriber = ChunkClaims(redis, pool=POOL, worker="t", partitions=1, lease_s=60)
    for claims in (processor, transcriber):
        await claims.queue.ensure_groups()
    for name in ("a", "b"):  # one is begun, one waits
        await jobs.submit(f"j_{name * 30}", Source("blob", "a.wav"), JobOptions(), pool=POOL, key="k")
    await processor.admit(room=True)
    [claim] = await processor.take_new()
    job = JobLog(processor.scripts, claim)
    for index in range(2):
        work = {"start": 0, "speech": [], "covered_samples": 16_000}
        await job.add(Chunk(index, work, SECOND), limit=9, position=1, expected=0, language_first=False)
    _, later = [chunk for _ in range(2) for chunk in await transcriber.take_new(block_ms=100)]
    await transcriber.done(later, [], "en")  # its result waits for the first

    left = await _lifetimes(redis)
    assert {key.split(":")[2] for key in left} == {
        "job", "parts", "events", "waiting", "flows", "shares", "job-list"
    }  # fmt: skip
    assert all(0 < seconds <= LONG_TTL_S for seconds in left.values()), left


async def test_a_key_without_a_lifetime_is_found(redis, redis_server):
    await redis.set("stt:{0}:forgotten", 1)
    await redis.set("stt:{0}:pcm:s", 1, ex=100)
    await redis.xadd(names.jobs(0), {"job": "j"})
    found = await asyncio.to_thread(staying, redis_server.port)

    assert found == ["stt:{0}:forgotten"]
    with pytest.raises(AssertionError, match="forgotten"):
        complain(found)
    await redis.delete("stt:{0}:forgotten")
