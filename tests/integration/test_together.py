"""Audio of many sessions is appended by one script, and each session gets its own answer."""

import asyncio

import pytest
from redis import exceptions

from parlando.domain.audio import Encoding
from parlando.domain.formats import AudioFormat
from parlando.errors import SessionClosedError, SessionLostError, SupersededError
from parlando.store import connection
from parlando.store.connection import connect
from parlando.store.sessions import Sessions
from support.pools import PLACE
from support.redis_topologies import RedisClusterServers

SAMPLES = 320
FRAME = b"\1\0" * SAMPLES
MOST = 1 << 30
MULAW = AudioFormat(encoding=Encoding.MULAW)


async def _opened(sessions: Sessions, count: int, form: AudioFormat) -> list:
    return [
        await sessions.open(f"s{n}", places=[PLACE], config={}, token="t", form=form) for n in range(count)
    ]


async def _scripts_run(redis) -> int:
    return (await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]


@pytest.mark.parametrize("form", [AudioFormat(), MULAW])
async def test_all_that_waits_is_one_call(redis, sessions, form):
    writers = await _opened(sessions, 30, form)
    await asyncio.gather(*(writer.append(FRAME, MOST) for writer in writers))  # loads the scripts
    before = await _scripts_run(redis)
    appended = await asyncio.gather(
        *(writer.append(FRAME * (n + 1), MOST) for n, writer in enumerate(writers))
    )

    assert await _scripts_run(redis) == before + 1
    unit = SAMPLES if form.direct else len(FRAME)
    for n, (writer, done) in enumerate(zip(writers, appended, strict=True)):
        assert (done.stored, done.received, writer.received) == (True, unit * (n + 2), unit * (n + 2))
        stream = sessions.keys(f"s{n}").pcm if form.direct else sessions.keys(f"s{n}").raw
        assert [entry[b"p"] for _, entry in await redis.xrange(stream)] == [FRAME, FRAME * (n + 1)]


async def test_each_call_has_its_own_refusal(redis, sessions):
    """A missing session, a closed one, one that another writer has, a full one, and a fault of Redis."""
    writers = await _opened(sessions, 7, AudioFormat())
    await writers[0].append(FRAME, MOST)
    keys = [sessions.keys(f"s{n}") for n in range(7)]
    await redis.delete(keys[1].session)
    await redis.hset(keys[2].session, "state", "ending")
    await redis.hincrby(keys[3].session, "writer", 1)
    await redis.set(keys[5].pcm, "no stream")

    first = asyncio.create_task(writers[0].append(FRAME, MOST))
    await asyncio.sleep(0)
    limits = [MOST, MOST, MOST, 1, MOST, MOST]
    answers = await asyncio.gather(
        *(writer.append(FRAME, most) for writer, most in zip(writers[1:], limits, strict=True)),
        return_exceptions=True,
    )

    assert (await first).received == 2 * SAMPLES
    assert [type(each) for each in answers[:3]] == [SessionLostError, SessionClosedError, SupersededError]
    assert (answers[3].stored, answers[3].received) == (False, 0)
    assert isinstance(answers[4], exceptions.ResponseError)
    assert "WRONGTYPE" in str(answers[4])
    assert (answers[5].stored, answers[5].received) == (True, SAMPLES)
    assert [entry[b"p"] for _, entry in await redis.xrange(keys[6].pcm)] == [FRAME], "once"
    await redis.delete(keys[5].pcm)


async def test_a_lost_answer_of_many_changes_nothing(redis, sessions, monkeypatch):
    writers = await _opened(sessions, 20, AudioFormat())
    await asyncio.gather(*(writer.append(FRAME, MOST) for writer in writers))
    lost = []
    once = connection.once

    async def losing(call):
        answer = await once(call)
        if not lost and isinstance(answer, list) and len(answer) == 20:
            lost.append(answer)
            raise exceptions.ResponseError("lost")
        return answer

    monkeypatch.setattr(connection, "once", losing)
    appended = await asyncio.gather(*(writer.append(FRAME, MOST) for writer in writers))

    assert lost
    assert {each.received for each in appended} == {2 * SAMPLES}
    for n in range(20):
        assert await redis.xlen(sessions.keys(f"s{n}").pcm) == 2


async def test_a_redis_cluster_does_it_too():
    servers = RedisClusterServers()
    servers.start()
    redis = connect(servers.url)
    try:
        sessions = Sessions(redis, partitions=4, ttl_s=100)
        writers = await _opened(sessions, 40, AudioFormat())
        for _ in range(3):
            await asyncio.gather(*(writer.append(FRAME, MOST) for writer in writers))
        for n, writer in enumerate(writers):
            assert writer.received == 3 * SAMPLES
            assert await redis.xlen(sessions.keys(f"s{n}").pcm) == 3
    finally:
        await redis.aclose()
        servers.stop()
