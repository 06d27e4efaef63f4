"""Usage is counted once, in the step that stores what is counted."""

from datetime import date, timedelta

import pytest

from parlando.domain.events import Closed, FinalTranscript
from parlando.domain.formats import AudioFormat
from parlando.ids import new_session_id
from parlando.store.annotations import Annotations
from parlando.store.connection import connect
from parlando.store.http_audio import HttpAudio
from parlando.store.session_log import Checkpoint, SessionClaims
from parlando.store.sessions import Continued, Sessions
from parlando.store.usage import Spent, Usage, Used
from parlando.store.usage_keys import earlier_usage, today, usage
from support.pools import PLACE, POOL
from support.redis_topologies import RedisClusterServers

pytestmark = pytest.mark.usefixtures("same_day")
SECOND = b"\1\0" * 16_000
MOST = 1 << 30
OWNER, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def reader(redis):
    return Usage(redis, partitions=1)


async def _open(sessions, **more):
    return await sessions.open(
        "s", config={}, token="t", **{"places": [PLACE], "key": OWNER, "uid": "u", **more}
    )


def _final(number: int) -> FinalTranscript:
    return FinalTranscript(session_id="s", segment=number, text="hello", start=number, end=number + 1)


async def _used(reader, owner: str = OWNER) -> Used:
    return await reader.total(owner, today() - timedelta(days=1), today())


async def test_the_audio_of_a_session_is_counted_with_its_finals_and_the_rest_when_it_closes(
    sessions, claims, reader
):
    writer = await _open(sessions)
    for _ in range(3):
        await writer.append(SECOND, MOST)
    await writer.append(SECOND[: 2 * 1607], MOST)  # 100.4375 ms
    [claim] = await claims.take_new(block_ms=100)
    log = claims.own(claim)
    assert await _used(reader) == Used(sessions=1)

    await log.commit([_final(0)], decoded=16_000, segments=1, checkpoint=Checkpoint(0, {}), counted=16_010)
    assert await _used(reader) == Used(sessions=1, live_ms=1000)
    await log.commit([], decoded=16_000, segments=1, checkpoint=Checkpoint(0, {}), counted=16_000)
    assert (await _used(reader)).live_ms == 1000
    closed = Closed(session_id="s", duration=3.1, segments=1, reason="end")
    await log.commit(
        [closed], decoded=1, segments=1, checkpoint=Checkpoint(49_607, {}), counted=49_607, close=True
    )

    assert await _used(reader) == Used(sessions=1, live_ms=3100, files=1)
    assert await _used(reader, OTHER) == Used()
    assert await reader.audio_s(OWNER, today(), today()) == 3.1


async def test_a_new_owner_of_a_session_counts_nothing_again(redis, sessions, claims, reader):
    writer = await _open(sessions)
    await writer.append(2 * SECOND, MOST)
    [claim] = await claims.take_new(block_ms=100)
    await claims.own(claim).commit(
        [_final(0)], decoded=1, segments=1, checkpoint=Checkpoint(16_000, {}), counted=16_000
    )
    await claims.hand_back(claim)
    [claim] = await claims.take_new(block_ms=100)

    again = claims.own(claim)
    await again.commit([], decoded=1, segments=1, checkpoint=Checkpoint(16_000, {}), counted=16_000)
    await again.commit([_final(1)], decoded=1, segments=2, checkpoint=Checkpoint(32_000, {}), counted=32_000)
    assert await _used(reader) == Used(sessions=1, live_ms=2000)


async def test_a_session_that_failed_is_counted_as_far_as_it_was_transcribed(sessions, claims, reader):
    writer = await _open(sessions)
    await writer.append(2 * SECOND, MOST)
    [claim] = await claims.take_new(block_ms=100)
    log = claims.own(claim)
    await log.commit([_final(0)], decoded=1, segments=1, checkpoint=Checkpoint(0, {}), counted=16_000)
    closed = Closed(session_id="s", duration=2, segments=1, reason="failed")
    await log.commit([closed], decoded=1, segments=1, close=True)
    assert (await _used(reader)).live_ms == 1000


@pytest.mark.parametrize("left", [True, False])
async def test_a_session_continued_after_a_loss_is_counted_once(redis, sessions, claims, reader, left):
    writer = await _open(sessions)
    await writer.append(2 * SECOND, MOST)
    [claim] = await claims.take_new(block_ms=100)
    await claims.own(claim).commit(
        [_final(0)], decoded=1, segments=1, checkpoint=Checkpoint(16_000, {}), counted=16_000
    )
    if not left:
        await redis.delete(sessions.keys("s").session)
    await _open(sessions, continued=Continued(seq=9, position=28_000, segments=1, settled=16_000))
    claims_of_rest = [each for each in await claims.take_new(block_ms=100) if each.name == "s"]
    await claims.own(claims_of_rest[-1]).commit(
        [_final(1)], decoded=1, segments=2, checkpoint=Checkpoint(48_000, {}), counted=48_000
    )
    # With an older state of it, the audio between that state and the new begin is counted too.
    assert await _used(reader) == Used(sessions=1, live_ms=3000 if left else 1000 + 1250)


async def test_bodies_are_counted_when_they_are_stored_and_their_session_is_not(
    redis, sessions, claims, reader
):
    async def opening(sid: str, form: AudioFormat):
        return await sessions.open(
            sid, places=[PLACE], config={}, token="t", key=OWNER, form=form, uid="u", metered=True
        )

    bodies = HttpAudio(sessions, max_s=100, idle_s=60)
    for name in ("a", "b", "b"):
        await bodies.take(OWNER, "u", 16_000, SECOND, name=name, named=True, opening=opening)
    assert await _used(reader) == Used(omi_ms=2000, files=2)
    [claim] = await claims.take_new(block_ms=100)
    closed = Closed(session_id="s", duration=2, segments=1, reason="end")
    await claims.own(claim).commit(
        [closed], decoded=1, segments=1, checkpoint=Checkpoint(32_000, {}), counted=32_000, close=True
    )
    assert await _used(reader) == Used(omi_ms=2000, files=2)


async def test_a_session_opened_by_a_version_without_days_is_counted_once(redis, sessions, claims, reader):
    writer = await _open(sessions)
    key = sessions.keys("s").session
    await redis.hdel(key, "metered", "counted")
    await writer.append(2 * SECOND, MOST)
    [claim] = await claims.take_new(block_ms=100)
    await claims.own(claim).commit(
        [_final(0)], decoded=1, segments=1, checkpoint=Checkpoint(0, {}), counted=16_000
    )
    assert (await _used(reader)).live_ms == 1000
    assert await redis.hget(key, "metered") == b"1"  # a transcriber of that version doesn't count it again


async def _has(redis, name: str, counted: dict[str, int]) -> None:
    await redis.hset(name, mapping=counted)
    await redis.expire(name, 1000)


async def test_a_month_counted_without_days_belongs_to_its_first_day(redis, reader):
    await _has(redis, earlier_usage(0, OWNER, "2026-11"), {"files": 3, "audio_ms": 61_000})
    first = date(2026, 11, 1)
    whole = await reader.days(first, date(2026, 11, 30), owner=OWNER)
    assert [(row.day, row.used) for row in whole] == [(first, Used(earlier_ms=61_000, earlier_files=3))]
    assert await reader.total(OWNER, date(2026, 11, 2), date(2026, 11, 30)) == Used()
    assert await reader.total(OTHER, first, first) == Used()


async def test_days_of_all_owners_have_a_row_each(redis, reader):
    await _has(redis, usage(0, "2026-11-02"), {f"{OWNER[:16]}:jobs": 2, f"{OTHER[:16]}:job_ms": 5})
    await _has(redis, usage("analysis", "2026-11-02"), {f"{OWNER[:16]}:llm_requests": 4})
    await _has(redis, usage(0, "2026-11-03"), {f"{OWNER[:16]}:jobs": 1, f"{OWNER[:16]}:newer": 7})
    rows = await reader.days(date(2026, 11, 1), date(2026, 11, 9))
    assert [(row.day.day, row.owner, row.used) for row in rows] == [
        (2, OWNER[:16], Used(jobs=2, llm_requests=4)),
        (2, OTHER[:16], Used(job_ms=5)),
        (3, OWNER[:16], Used(jobs=1)),
    ]


async def test_the_lifetime_of_days_can_be_changed(redis, sessions, reader):
    await _open(sessions)
    name = usage(0, today().isoformat())
    await reader.keep([today()], for_days=30)
    left = await redis.ttl(name)
    assert 29 * 86_400 < left <= 31 * 86_400
    await sessions.open("other", places=[PLACE], config={}, token="t", key=OWNER)
    assert await redis.ttl(name) <= left


async def test_the_tokens_of_a_result_are_counted_with_it_and_not_with_a_repeat(redis, sessions, reader):
    await _open(sessions)
    annotations = Annotations(redis, partitions=1)
    spent = Spent.of([{"requests": 2, "input_tokens": 100, "output_tokens": 20, "cost_usd": 0.000123}])
    for _ in range(2):
        await annotations.add(
            annotations.of_session("s"), name="summary", kind="summary", by="analyzer", data={}, spent=spent
        )
    assert await _used(reader) == Used(
        sessions=1, llm_requests=2, llm_input_tokens=100, llm_output_tokens=20, llm_micros=123
    )


async def test_a_redis_cluster_counts_in_the_slot_of_what_is_counted():
    servers = RedisClusterServers()
    servers.start()
    redis = connect(servers.url)
    try:
        sessions, reader = Sessions(redis, partitions=4, ttl_s=100), Usage(redis, partitions=4)
        annotations = Annotations(redis, partitions=4)
        claims = SessionClaims(redis, pool=POOL, worker="t", partitions=4, ttl_s=100)
        await claims.queue.ensure_groups()
        sids = [new_session_id(partition, 4) for partition in range(4)]
        for sid in sids:
            writer = await sessions.open(sid, places=[PLACE], config={}, token="t", key=OWNER)
            await writer.append(SECOND, MOST)
            spent = Spent(requests=1, input_tokens=10)
            keys = annotations.of_session(sid)
            await annotations.add(keys, name="n", kind="k", by="b", data={}, spent=spent)
        taken = []
        while len(taken) < 4:
            taken += await claims.take_new(block_ms=100)
        for claim in taken:
            await claims.own(claim).commit(
                [], decoded=1, segments=1, checkpoint=Checkpoint(16_000, {}), counted=16_000
            )
        await reader.keep([today()], for_days=40)
        used = Used(sessions=4, live_ms=4000, llm_requests=4, llm_input_tokens=40)
        assert await _used(reader) == used
        assert [row.used for row in await reader.days(today(), today())] == [used]
    finally:
        await redis.aclose()
        servers.stop()
