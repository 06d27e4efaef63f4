"""Retention times: who may set which, and what is deleted after them."""

import asyncio
import json
import time

import pytest

from api_gateway.owners.expiry import DAY_MS, Cutoffs, _is_old
from parlando.domain.retention import OwnerRetention, Retention
from parlando.errors import StorageError
from parlando.store.deliveries import Delivery
from parlando.store.retentions import RETENTION
from support.asgi_gateway import ADMIN, MINE, SID, THEIRS, gateway_of
from support.pools import PLACE

DEFAULT_DAYS = 30


@pytest.fixture
async def gateway(redis_server, tmp_path):
    async with gateway_of(redis_server.url, tmp_path, retention_days=DEFAULT_DAYS) as gateway:
        yield gateway


async def _put(gateway, headers, owner="me", **days):
    body = json.dumps(days).encode()
    answer = await gateway.ask("PUT", f"/v1/owners/{owner}/retention", headers, body=body)
    return answer.status, json.loads(answer.body)


async def test_what_only_a_newer_release_knows_is_ignored(gateway):
    times = {"admin:transcript_days": 3, "admin:song_days": 1, "own:song_days": 1, "law:transcript_days": 1}
    await gateway.redis.hset(RETENTION, mapping={f"none:{field}": days for field, days in times.items()})
    retentions = gateway.services.owners.retentions
    expected = OwnerRetention(admin=Retention(transcript_days=3))
    assert await retentions.get("") == expected
    assert await retentions.all() == {"": expected}


async def test_changes_at_once_keep_each_other(gateway):
    changes = [
        _put(gateway, gateway.mine, transcript_days=7),
        _put(gateway, gateway.mine, audio_days=1),
        _put(gateway, ADMIN, MINE[:16], transcript_days=9),
        _put(gateway, ADMIN, MINE[:16], audio_days=2),
    ]
    assert [status for status, _ in await asyncio.gather(*changes)] == [200] * 4
    assert await gateway.services.owners.retentions.get(MINE[:16]) == OwnerRetention(
        admin=Retention(transcript_days=9, audio_days=2), own=Retention(transcript_days=7, audio_days=1)
    )


async def test_an_owner_shortens_its_times_and_an_administrator_sets_any(gateway):
    status, kept = await _put(gateway, gateway.mine, transcript_days=10)
    assert (status, kept["transcript_days"], kept["audio_days"]) == (200, 10, None)
    status, problem = await _put(gateway, gateway.mine, transcript_days=31)
    assert status == 400
    assert "at most 30 days" in problem["detail"]
    status, kept = await _put(gateway, ADMIN, MINE[:16], transcript_days=400, audio_days=5)
    assert (kept["transcript_days"], kept["audio_days"]) == (10, 5)  # the owner's own is shorter
    status, kept = await _put(gateway, gateway.mine, transcript_days=0)
    assert (kept["transcript_days"], kept["audio_days"]) == (400, 5)
    status, kept = await _put(gateway, gateway.mine, transcript_days=365)
    assert (status, kept["transcript_days"], kept["set_by_admin"]["transcript_days"]) == (200, 365, 400)
    assert (await _put(gateway, gateway.mine, THEIRS[:16], transcript_days=1))[0] == 404
    await _put(gateway, gateway.theirs, transcript_days=5)
    await _put(gateway, gateway.theirs, transcript_days=0)
    mine = MINE[:16]
    assert {field.decode() for field in await gateway.redis.hkeys(RETENTION)} == {
        f"{mine}:admin:transcript_days",
        f"{mine}:admin:audio_days",
        f"{mine}:own:transcript_days",
    }, "none of an owner without times"
    for days in ({"transcript_days": -1}, {"transcript_days": 4000}, {"days": 1}):
        assert (await _put(gateway, ADMIN, **days))[0] == 422
    shown = await gateway.ask("GET", "/v1/owners/me/retention", gateway.theirs)
    assert json.loads(shown.body)["transcript_days"] == DEFAULT_DAYS


async def test_what_is_older_is_deleted_and_live_sessions_are_not(gateway):
    now = round(time.time() * 1000)
    services = gateway.services
    for sid, owner in (("s_old", MINE), ("s_others", THEIRS)):
        await services.sessions.open(sid, places=[PLACE], config={}, token="t" * 20, key=owner, uid="u")
        await gateway.redis.hset(services.history.keys(sid).session, "state", "closed")
        document = {"owner": owner[:16], "uid": "u", "session_id": sid, "started_ms": now, "text": "x"}
        await services.archive.put(document)
    job = await gateway.job()
    begun = await gateway.ask(
        "POST", "/v1/uploads", {**gateway.mine, "tus-resumable": "1.0.0", "upload-length": "10"}
    )
    assert begun.status == 201
    await _put(gateway, gateway.mine, transcript_days=10)
    await _put(gateway, ADMIN, MINE[:16], audio_days=2)
    sweep = services.owners.expiry.sweep

    async def left() -> set[str]:
        data = services.owners.inventory
        mine, theirs = await data.of(MINE[:16]), await data.of(THEIRS[:16])
        other = ("keys", "lists", "usage_records")  # usage is kept for USAGE_DAYS
        return {f"{kind} {number}" for kind, number in mine.items() if number and kind not in other} | {
            f"their {kind} {number}" for kind, number in theirs.items() if number and kind not in other
        }

    assert await sweep(now + DAY_MS) == {}
    assert await sweep(now + 3 * DAY_MS) == {"jobs": 1, "uploads": 1}  # audio
    assert job not in [each.id async for each in services.owners.deletion._parts.data.jobs()]
    assert await sweep(now + 9 * DAY_MS) == {}
    assert await sweep(now + 11 * DAY_MS) == {"sessions": 1, "archived": 1}
    assert await left() == {"sessions 1", "their sessions 1", "their archived 1"}
    assert await sweep(now + 29 * DAY_MS) == {}
    assert await sweep(now + 31 * DAY_MS) == {"sessions": 1, "archived": 1}
    assert await left() == {"sessions 1"}, "the open one"
    assert [each.id async for each in services.owners.deletion._parts.data.sessions()] == [SID]


async def test_a_file_that_can_not_be_deleted_does_not_keep_the_others(gateway, monkeypatch):
    for _ in range(2):
        await gateway.job()
    await _put(gateway, ADMIN, MINE[:16], audio_days=2)
    delete, asked = gateway.services.blobs.delete, []

    async def failing(name: str) -> None:
        asked.append(name)
        if len(asked) == 1:
            raise StorageError("The file can't be deleted")
        await delete(name)

    monkeypatch.setattr(gateway.services.blobs, "delete", failing)
    later = round(time.time() * 1000) + 3 * DAY_MS
    assert await gateway.services.owners.expiry.sweep(later) == {"jobs": 1, "jobs_failed": 1}


async def test_one_gateway_looks_at_a_time(gateway):
    retentions = gateway.services.owners.retentions
    await gateway.redis.delete("stt:{owners}:sweeper")
    assert await retentions.may_sweep("one", for_s=60)
    assert not await retentions.may_sweep("other", for_s=60)
    assert 0 < await gateway.redis.ttl("stt:{owners}:sweeper") <= 60


def test_deliveries_are_deleted_by_the_time_of_their_owner():
    known = {"a" * 16: OwnerRetention(own=Retention(transcript_days=1))}
    cutoffs = Cutoffs(Retention(), known, now_ms=2 * DAY_MS)

    def delivery(owner: str, queued_ms: int) -> Delivery:
        return Delivery("1-0", 0, "l", owner, "d", {}, queued_ms, 0, "dead")

    assert _is_old(delivery("a" * 64, DAY_MS - 1), cutoffs)
    assert not _is_old(delivery("a" * 64, DAY_MS), cutoffs)
    assert not _is_old(delivery("b" * 64, 0), cutoffs)
