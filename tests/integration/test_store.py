"""The scripts in a real Redis: fencing, repetition, checkpoints, leases."""

import asyncio

import orjson
import pytest

from parlando.domain.audio import Encoding
from parlando.domain.commands import End, Flush
from parlando.domain.events import Closed, FinalTranscript
from parlando.domain.formats import AudioFormat
from parlando.errors import (
    AtCapacityError,
    FencedError,
    NotAllowedError,
    SessionClosedError,
    SessionLostError,
    SessionNotFoundError,
    SessionTakenError,
    SupersededError,
    UnavailableError,
)
from parlando.store.audio_streams import Control, Frame, StreamReader, position_at
from parlando.store.connection import connect, retried
from parlando.store.history import History
from parlando.store.keys import sessions as queue_of
from parlando.store.pools import Place
from parlando.store.session_log import Checkpoint, SessionClaims
from parlando.store.sessions import Sessions
from support.pools import PLACE, POOL

SECOND = b"\0\0" * 16_000
MOST = 60 * 16_000


@pytest.fixture(params=[1, 5])
def partitions(request):
    return request.param


@pytest.fixture
def sessions(redis, partitions):
    return Sessions(redis, partitions=partitions, ttl_s=100)


async def _claims(redis, partitions, name, lease_s=1.0) -> SessionClaims:
    claims = SessionClaims(redis, pool=POOL, worker=name, partitions=partitions, ttl_s=100, lease_s=lease_s)
    await claims.queue.ensure_groups()
    return claims


async def _claimed(claims, sessions, sid):
    return next(claim for claim in await claims.take_new(block_ms=100) if claim.name == sid)


def _final(sid: str) -> FinalTranscript:
    return FinalTranscript(session_id=sid, segment=0, text="hello", start=0, end=1)


async def test_repeating_an_append_stores_it_once(redis, sessions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    await writer.append(SECOND, MOST)
    writer.received = 0  # as if the answer had been lost
    again = await writer.append(SECOND, MOST)

    assert again.received == 16_000
    assert await redis.xlen(sessions.keys("s").pcm) == 1


@pytest.mark.parametrize(
    "form", [AudioFormat(encoding=Encoding.PCM_F32LE), AudioFormat(sample_rate=8000), AudioFormat()]
)
async def test_a_session_comes_back_with_the_format_that_its_client_sends(sessions, form):
    """32-bit floats of 16 kHz need no FFmpeg, and used to be read as 16-bit samples after a resume."""
    await sessions.open("s", places=[PLACE], config={}, token="t", form=form)
    assert (await sessions.attach("s", token="t")).writer.format == form
    other = await sessions.open("other", places=[PLACE], config={}, token="t")
    await other.reformat(form)
    assert (await sessions.attach("other", token="t")).writer.format == form


async def test_a_full_backlog_stores_nothing(redis, sessions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    await writer.append(SECOND, 20_000)
    refused = await writer.append(SECOND, 20_000)

    assert not refused.stored
    assert refused.backlog == 16_000
    assert await redis.xlen(sessions.keys("s").pcm) == 1


async def test_case_17_only_the_token_or_the_key_opens_a_session_again(sessions):
    await sessions.open("s", places=[PLACE], config={"language": "en"}, token="right", key="mine")

    for wrong in ({"token": "wrong"}, {"key": "other"}, {}):
        with pytest.raises(NotAllowedError):
            await sessions.attach("s", **wrong)
    assert (await sessions.attach("s", token="right")).config == {"language": "en"}
    assert (await sessions.attach("s", key="mine")).state == "open"
    with pytest.raises(SessionNotFoundError):
        await sessions.attach("unknown", token="right")
    with pytest.raises(SessionTakenError):
        await sessions.open("s", places=[PLACE], config={}, token="t", key="mine")


async def test_a_newer_connection_fences_the_older_off(sessions):
    older = await sessions.open("s", places=[PLACE], config={}, token="t")
    await older.append(SECOND, MOST)
    newer = (await sessions.attach("s", token="t")).writer

    assert newer.received == 16_000
    with pytest.raises(SupersededError):
        await older.append(SECOND, MOST)
    with pytest.raises(SupersededError):
        await older.touch()
    await newer.append(SECOND, MOST)


async def test_nothing_may_follow_the_end(sessions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    await writer.command(End())

    with pytest.raises(SessionClosedError):
        await writer.append(SECOND, MOST)


async def test_a_session_that_redis_forgot_is_said_to_be_lost(redis, sessions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    await redis.flushall()

    with pytest.raises(SessionLostError, match="without its data"):
        await writer.append(SECOND, MOST)
    with pytest.raises(SessionLostError):
        await writer.touch()


async def test_the_session_after_the_last_that_fits_is_refused(redis):
    sessions = Sessions(redis, partitions=1, ttl_s=100)
    for number in range(3):
        await sessions.open(f"s{number}", places=[Place(POOL, 3)], config={}, token="t")

    with pytest.raises(AtCapacityError):
        await sessions.open("s3", places=[Place(POOL, 3)], config={}, token="t")


async def test_audio_and_controls_are_read_in_their_order(redis, sessions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    await writer.append(SECOND, MOST)
    await writer.command(Flush())
    await writer.append(SECOND, MOST)
    key = sessions.keys("s").pcm

    entries = (await StreamReader(redis).read({key: position_at(0)}, block_ms=10))[key]

    assert [(type(e), e.start if isinstance(e, Frame) else e.at) for e in entries] == [
        (Frame, 0),
        (Control, 16_000),
        (Frame, 16_000),
    ]
    assert entries[1].command == Flush()


async def test_two_workers_never_both_publish(redis, sessions, partitions):
    await sessions.open("s", places=[PLACE], config={}, token="t")
    first, second = await _claims(redis, partitions, "a"), await _claims(redis, partitions, "b")
    old = first.own(await _claimed(first, sessions, "s"))
    await asyncio.sleep(1.1)
    [claim] = await second.take_over(5)
    new = second.own(claim)

    assert claim.taken_over
    with pytest.raises(FencedError):
        await old.commit([_final("s")], decoded=1, segments=1)
    with pytest.raises(FencedError):
        await old.publish(b"{}", state={})
    await new.commit([_final("s")], decoded=1, segments=1)
    assert len(await History(redis, partitions=partitions).events("s", after=0)) == 1


async def test_a_commit_behind_an_event_of_somebody_else_is_numbered_behind_it(redis, sessions, partitions):
    await sessions.open("s", places=[PLACE], config={}, token="t")
    claims = await _claims(redis, partitions, "a")
    session_log = claims.own(await _claimed(claims, sessions, "s"))
    await session_log.commit([_final("s")], decoded=1, segments=1)
    keys = sessions.keys("s")
    await redis.hincrby(keys.session, "seq", 1)
    await redis.xadd(keys.events, {"e": b'{"type":"summary","seq":2}'}, id="2-0")
    await session_log.commit([_final("s"), _final("s")], decoded=2, segments=3)

    events = await History(redis, partitions=partitions).events("s", after=0)
    assert [(orjson.loads(e)["type"], orjson.loads(e)["seq"]) for e in events] == [
        ("final", 1),
        ("summary", 2),
        ("final", 3),
        ("final", 4),
    ]
    assert session_log.seq == 4


async def test_case_10_a_checkpoint_trims_what_lies_below_it_and_nothing_else(redis, sessions, partitions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    for _ in range(5):
        await writer.append(SECOND, MOST)
    claims = await _claims(redis, partitions, "a")
    session_log = claims.own(await _claimed(claims, sessions, "s"))
    await session_log.commit([], decoded=1, segments=0, checkpoint=Checkpoint(40_000, {"x": 1}))
    key = sessions.keys("s").pcm

    entries = (await StreamReader(redis).read({key: position_at(40_000)}, block_ms=10))[key]
    assert [entry.start for entry in entries] == [32_000, 48_000, 64_000]
    assert await redis.xlen(key) == 3


async def test_a_lease_that_is_refreshed_is_not_taken_over(redis, sessions, partitions):
    await sessions.open("s", places=[PLACE], config={}, token="t")
    first, second = await _claims(redis, partitions, "a"), await _claims(redis, partitions, "b")
    claim = await _claimed(first, sessions, "s")
    for _ in range(4):
        await asyncio.sleep(0.4)
        assert not (await first.renew([claim]))[0].lost

    assert await second.take_over(5) == []


async def test_a_session_handed_back_is_there_for_the_next_at_once(redis, sessions, partitions):
    await sessions.open("s", places=[PLACE], config={}, token="t")
    first, second = await _claims(redis, partitions, "a"), await _claims(redis, partitions, "b")
    claim = await _claimed(first, sessions, "s")
    await first.hand_back(claim)

    assert (await _claimed(second, sessions, "s")).epoch == claim.epoch + 2
    assert (await first.renew([claim]))[0].lost


async def test_workers_that_are_gone_are_taken_off_the_books(redis, sessions, partitions, monkeypatch):
    """Every start of a worker adds a name to the queue's group; one without work is forgotten later."""
    monkeypatch.setattr("parlando.store.work_queue.CONSUMER_EXPIRY_MS", 0)
    await sessions.open("s", places=[PLACE], config={}, token="t")
    gone, busy = await _claims(redis, partitions, "gone"), await _claims(redis, partitions, "busy")
    await _claimed(busy, sessions, "s")
    await gone.take_new(block_ms=10)
    await asyncio.sleep(0.01)
    await busy.queue.tidy()

    names = [
        c["name"]
        for c in await redis.xinfo_consumers(queue_of(sessions.keys("s").partition, POOL), "transcribers")
    ]
    assert names == [b"busy"]


async def test_a_closed_session_leaves_no_audio_and_no_work(redis, sessions, partitions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    await writer.append(SECOND, MOST)
    claims = await _claims(redis, partitions, "a")
    session_log = claims.own(await _claimed(claims, sessions, "s"))
    await session_log.commit(
        [Closed(session_id="s", duration=1, segments=0, reason="end")], decoded=1, segments=0, close=True
    )

    assert await redis.exists(sessions.keys("s").pcm) == 0
    assert await sessions.waiting() == 0
    assert 0 < await redis.ttl(sessions.keys("s").events) <= 100
    assert 0 < await redis.ttl(sessions.keys("s").session) <= 100


async def test_an_unreachable_redis_is_said_so():
    redis = connect("redis://127.0.0.1:9/0")

    with pytest.raises(UnavailableError, match="Redis can't be reached"):
        await retried(redis.ping, within=0.3)


async def test_a_restarted_redis_is_reached_again(redis_server, redis):
    await redis.ping()
    redis_server.kill()
    redis_server.start()

    assert await retried(redis.ping)


async def test_a_session_whose_data_is_damaged_harms_no_other_one(redis, sessions):
    """Appends of one partition go to Redis together; an error in one of them is its own."""
    writers = [await sessions.open(f"s{n}", places=[PLACE], config={}, token="t") for n in range(8)]
    await redis.delete(writers[3]._keys.pcm)
    await redis.set(writers[3]._keys.pcm, "not a stream", ex=100)
    results = await asyncio.gather(
        *(writer.append(SECOND, MOST) for writer in writers), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [n == 3 for n in range(8)]
