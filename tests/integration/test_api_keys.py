"""API keys in Redis, and the copies that gateways have of them."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from parlando.domain.access import Scope
from parlando.errors import AtCapacityError, ConflictError, KeyEndedError, NotAllowedError, UnavailableError
from parlando.store import api_keys, key_ring
from parlando.store.access_keys import API_KEYS_REMOVED
from parlando.store.api_keys import ApiKeys, KeyRequest
from parlando.store.connection import connect
from parlando.store.key_ring import KeyRing, Watch
from parlando.store.pubsub import Channels

PHONE = KeyRequest("phone", "o" * 64, "mine", (Scope.LIVE, Scope.READ))
LONG_S = 60  # what takes milliseconds, on a machine of any speed


@asynccontextmanager
async def gateway(url: str):
    """The copy of a gateway, which is kept up to date."""
    redis, channels_redis = connect(url), connect(url)
    channels = Channels(channels_redis)
    ring = KeyRing(ApiKeys(redis), channels)
    tasks = [asyncio.create_task(loop) for loop in (channels.run(), ring.run())]
    try:
        yield ring
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await channels.aclose()
        await redis.aclose()
        await channels_redis.aclose()


async def test_a_secret_is_shown_once_and_stored_only_as_a_hash(redis):
    keys = ApiKeys(redis)
    key, secret = await keys.create(PHONE)
    stored = json.dumps([value.decode() for value in (await redis.hgetall("stt:{keys}:all")).values()])
    assert secret not in stored
    assert secret.split("_", 2)[2] not in stored
    found, version = await KeyRing(keys, Channels(redis)).find(secret)
    assert (found, version) == (key, 1)
    for wrong in (
        secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        f"pk_{'0' * 12}_{'x' * 43}",
        "pk_" + "x" * 20,
    ):
        with pytest.raises(NotAllowedError, match="unknown"):
            await KeyRing(keys, Channels(redis)).find(wrong)


async def test_another_secret_replaces_the_first_at_once_or_after_a_grace(redis):
    keys = ApiKeys(redis)
    ring = KeyRing(keys, Channels(redis))
    key, first = await keys.create(PHONE)
    _, second = await keys.rotate(key.id, grace_s=3600)
    assert (await ring.find(first))[1] == 1
    assert (await ring.find(second))[1] == 2
    rotated, third = await keys.rotate(key.id)
    await ring.read()
    assert rotated.owner == key.owner
    assert (await ring.find(third))[1] == 3
    for old in (first, second):
        with pytest.raises(NotAllowedError):
            await ring.find(old)
    await keys.revoke(key.id)
    with pytest.raises(ConflictError, match="was revoked"):
        await keys.rotate(key.id)


async def test_an_expired_key_is_refused(redis):
    key, secret = await ApiKeys(redis).create(KeyRequest("k", "o", "", (Scope.LIVE,), expires_at=1))
    with pytest.raises(NotAllowedError, match=f"{key.id} has expired"):
        await KeyRing(ApiKeys(redis), Channels(redis)).find(secret)


async def test_there_is_a_maximum_and_old_keys_make_room(redis, monkeypatch):
    monkeypatch.setattr(api_keys, "MAX_KEYS", 2)
    keys = ApiKeys(redis)
    first, _ = await keys.create(PHONE)
    await keys.create(PHONE)
    with pytest.raises(AtCapacityError, match="maximum"):
        await keys.create(PHONE)
    await keys.revoke(first.id)
    third, _ = await keys.create(PHONE)
    assert first.id not in await keys.all()
    monkeypatch.setattr(api_keys, "MAX_KEYS", 10)
    await keys.revoke(third.id)
    await keys.create(PHONE)
    assert third.id in await keys.all(), "there is room"
    monkeypatch.setattr(api_keys, "KEPT_S", -60)
    await keys.create(PHONE)
    assert third.id not in await keys.all()


async def test_so_many_removed_keys_are_noted_and_not_for_ever(redis, monkeypatch):
    monkeypatch.setattr("parlando.store.api_keys.MAX_REMOVED", 3)
    monkeypatch.setattr("parlando.store.api_keys.MAX_KEYS", 1)
    keys = ApiKeys(redis)
    await redis.zadd(API_KEYS_REMOVED, {"long-ago": 1})
    await keys.remove(["a", "b"])
    assert sorted(await redis.zrange(API_KEYS_REMOVED, 0, -1)) == [b"a", b"b"]
    await keys.remove(["c", "d", "e"])
    assert sorted(await redis.zrange(API_KEYS_REMOVED, 0, -1)) == [b"c", b"d", b"e"]
    await keys.create(KeyRequest("k", "o", "", (Scope.LIVE,), expires_at=1))
    await keys.create(PHONE)  # makes room
    assert await redis.zcard(API_KEYS_REMOVED) == 3


async def test_every_gateway_learns_of_a_revocation_and_ends_what_is_open(redis_server, redis):
    keys = ApiKeys(redis)
    key, secret = await keys.create(PHONE)
    other, _ = await keys.create(PHONE)
    async with gateway(redis_server.url) as one, gateway(redis_server.url) as two:

        async def connected(ring: KeyRing, key_id: str) -> float:
            with Watch() as watch:
                watch.follow(ring, key_id, 1)
                await asyncio.sleep(LONG_S)
            return time.monotonic()

        async def ended(ring: KeyRing) -> float:
            with pytest.raises(KeyEndedError, match="was revoked"):
                await connected(ring, key.id)
            return time.monotonic()

        for ring in (one, two):
            await ring.find(secret)
        ends = [asyncio.create_task(ended(ring)) for ring in (one, two)]
        stays = asyncio.create_task(connected(one, other.id))
        await asyncio.sleep(0)
        assert len(one.watches) == 2
        await keys.revoke(key.id)
        await asyncio.gather(*ends)
        for ring in (one, two):
            assert not [watch for watch in ring.watches if watch.key_id == key.id]
            with pytest.raises(NotAllowedError, match="was revoked"):
                await ring.find(secret)
        assert not stays.done()
        stays.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stays


async def test_a_watch_does_not_hide_another_cancellation(redis):
    keys = ApiKeys(redis)
    key, secret = await keys.create(PHONE)
    ring = KeyRing(keys, Channels(redis))
    await ring.find(secret)

    async def connected() -> None:
        with Watch() as watch:
            watch.follow(ring, key.id, 1)
            await asyncio.sleep(LONG_S)

    task = asyncio.create_task(connected())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ring.watches
    await keys.revoke(key.id)
    await ring.read()
    with pytest.raises(KeyEndedError, match="was revoked"):
        await connected()


async def test_another_secret_ends_what_the_first_has_open_after_the_grace(redis):
    keys = ApiKeys(redis)
    key, _ = await keys.create(PHONE)
    ring = KeyRing(keys, Channels(redis))
    await ring.read()
    with pytest.raises(KeyEndedError, match="was replaced"), Watch() as watch:
        watch.follow(ring, key.id, 1)
        await keys.rotate(key.id, grace_s=3600)
        await ring.read()
        await asyncio.sleep(0)  # goes on
        await keys.rotate(key.id)
        await ring.read()
        await asyncio.sleep(LONG_S)


async def test_a_key_that_expires_ends_what_is_open(redis_server, redis):
    expiry = int(time.time()) + 2
    key, secret = await ApiKeys(redis).create(KeyRequest("k", "o", "", (Scope.LIVE,), expires_at=expiry))
    async with gateway(redis_server.url) as ring:
        await ring.find(secret)
        with pytest.raises(KeyEndedError, match="has expired"), Watch() as watch:
            watch.follow(ring, key.id, 1)
            await asyncio.sleep(LONG_S)
    assert time.time() >= expiry


async def test_without_redis_known_keys_are_valid_for_a_limited_time(redis_server, redis, monkeypatch):
    keys = ApiKeys(redis)
    key, secret = await keys.create(PHONE)
    ring = KeyRing(keys, Channels(redis))
    await ring.find(secret)
    redis_server.kill()
    assert (await ring.find(secret))[0] == key
    monkeypatch.setattr(key_ring, "MAX_STALE_S", 0.0)
    with pytest.raises(UnavailableError, match="Redis can't be reached"):
        await ring.find(secret)


async def test_a_redis_that_has_lost_its_data_gets_the_keys_again(redis_server, redis):
    keys = ApiKeys(redis)
    _, secret = await keys.create(PHONE)
    revoked, _ = await keys.create(PHONE)
    async with gateway(redis_server.url) as one, gateway(redis_server.url) as two:
        await one.find(secret)
        await keys.revoke(revoked.id)
        await one.read()
        await two.read()
        await redis.flushall()
        await one.read()
        await two.read()
    assert (await KeyRing(keys, Channels(redis)).find(secret))[1] == 1
    assert (await keys.get(revoked.id)).revoked_at


async def test_the_last_use_is_noted_at_most_once_a_minute(redis_server, redis, monkeypatch):
    keys = ApiKeys(redis)
    key, secret = await keys.create(PHONE)
    noted = []
    original = ApiKeys.mark_used

    async def counting(self, times):
        noted.append(times)
        await original(self, times)

    monkeypatch.setattr(ApiKeys, "mark_used", counting)
    async with gateway(redis_server.url) as ring:
        async with asyncio.timeout(LONG_S):
            while not await keys.uses():
                await ring.find(secret)
                await asyncio.sleep(0.01)
        for _ in range(100):
            await ring.find(secret)
        await asyncio.sleep(2 * key_ring.TICK_S)
    assert (await keys.uses())[key.id] == noted[0][key.id]
    assert len(noted) == 1


async def test_a_key_that_another_gateway_has_just_made_is_found(redis):
    ring = KeyRing(ApiKeys(redis), Channels(redis))
    await ring.read()
    key, secret = await ApiKeys(redis).create(PHONE)
    assert (await ring.find(secret))[0] == key


async def test_unknown_keys_cost_few_calls(redis, monkeypatch):
    ring = KeyRing(ApiKeys(redis), Channels(redis))
    await ring.read()
    asked, at = [], []

    async def find(self, key_ids):
        asked.append(len(key_ids))
        at.append(ring._looked_at)
        return [None] * len(key_ids)

    monkeypatch.setattr(ApiKeys, "find", find)
    wrong = [f"pk_{number:012x}_{'x' * 43}" for number in range(50)]
    refused = await asyncio.gather(*(ring.find(each) for each in wrong), return_exceptions=True)
    assert {type(each) for each in refused} == {NotAllowedError}
    assert asked == [50]
    with pytest.raises(NotAllowedError):
        await ring.find(wrong[0])
    assert at[1] - at[0] >= key_ring.LOOK_S / 2, "one look-up after the other, at a pace"


async def test_a_new_key_is_accepted_from_many_at_once(redis):
    """Each of them is unknown until the first look-up is answered."""
    ring = KeyRing(ApiKeys(redis), Channels(redis))
    await ring.read()
    _, secret = await ApiKeys(redis).create(PHONE)
    with pytest.raises(NotAllowedError):
        await ring.find(f"pk_{0:012x}_{'x' * 43}")
    found = await asyncio.gather(*(ring.find(secret) for _ in range(20)))
    assert {version for _, version in found} == {1}


async def test_a_token_may_open_as_many_sessions_as_it_says(redis):
    keys = ApiKeys(redis)
    counting = {"limit": 2, "expires_at": int(time.time()) + 60}
    assert [await keys.count_session("t", name, **counting) for name in "abc"] == [True, True, False]
    await keys.uncount_session("t", "a")
    assert await keys.count_session("t", "c", **counting)


async def test_a_redis_that_went_back_in_time_does_not_make_revoked_keys_valid(redis):
    keys = ApiKeys(redis)
    ring = KeyRing(keys, Channels(redis))
    revoked, secret = await keys.create(PHONE)
    rotated, first = await keys.create(PHONE)
    before = await redis.hgetall("stt:{keys}:all")
    await keys.revoke(revoked.id)
    _, second = await keys.rotate(rotated.id)
    await ring.read()
    await redis.hset("stt:{keys}:all", mapping=before)
    await ring.read()
    for other in (ring, KeyRing(keys, Channels(redis))):
        assert (await other.find(second))[1] == 2
        for old in (secret, first):
            with pytest.raises(NotAllowedError):
                await other.find(old)


async def test_a_copy_from_before_a_revocation_does_not_undo_it(redis):
    keys = ApiKeys(redis)
    key, _ = await keys.create(PHONE)
    rotated, _ = await keys.rotate(key.id)
    await keys.revoke(key.id)
    assert await keys.restore([key, rotated.model_copy(update={"version": 9})]) == 0
    assert (await keys.get(key.id)).revoked_at


async def test_each_lost_key_is_stored_again_although_others_are_there(redis):
    keys = ApiKeys(redis)
    ring = KeyRing(keys, Channels(redis))
    lost, secret = await keys.create(PHONE)
    await ring.read()
    await redis.flushall()
    made, _ = await keys.create(PHONE)
    await ring.read()
    assert {*await keys.all()} == {lost.id, made.id}
    assert (await ring.find(secret))[0] == lost


async def test_an_old_copy_does_not_bring_a_removed_key_back(redis, monkeypatch):
    monkeypatch.setattr(api_keys, "MAX_KEYS", 1)
    keys = ApiKeys(redis)
    old = KeyRing(keys, Channels(redis))
    key, secret = await keys.create(PHONE)
    await old.read()
    await keys.revoke(key.id)
    made, _ = await keys.create(PHONE)  # takes the room of the revoked one
    await old.read()
    assert [*await keys.all()] == [made.id]
    with pytest.raises(NotAllowedError):
        await old.find(secret)


async def test_a_look_up_does_not_replace_a_newer_record(redis, monkeypatch):
    keys = ApiKeys(redis)
    ring = KeyRing(keys, Channels(redis))
    await ring.read()
    key, secret = await keys.create(PHONE)

    async def find(self, key_ids):
        await keys.revoke(*key_ids)
        await ring.read()
        return [key]

    monkeypatch.setattr(ApiKeys, "find", find)
    with pytest.raises(NotAllowedError, match="was revoked"):
        await ring.find(secret)


async def test_a_revocation_is_kept_although_redis_does_not_store_it_again(redis, monkeypatch):
    keys = ApiKeys(redis)
    ring = KeyRing(keys, Channels(redis))
    key, secret = await keys.create(PHONE)
    before = await redis.hgetall("stt:{keys}:all")
    await keys.revoke(key.id)
    await ring.read()
    await redis.hset("stt:{keys}:all", mapping=before)

    async def restore(self, keys):
        raise UnavailableError("Redis is out of memory")

    monkeypatch.setattr(ApiKeys, "restore", restore)
    with pytest.raises(UnavailableError):
        await ring.read()
    with pytest.raises(NotAllowedError, match="was revoked"):
        await ring.find(secret)


async def test_a_scope_of_a_newer_release_is_left_out(redis):
    keys = ApiKeys(redis)
    key, secret = await keys.create(PHONE)
    stored = json.loads(await redis.hget("stt:{keys}:all", key.id))
    await redis.hset("stt:{keys}:all", key.id, json.dumps({**stored, "scopes": ["live", "telepathy"]}))
    with capture_logs() as logs:
        for _ in range(2):
            assert (await keys.all())[key.id].scopes == (Scope.LIVE,)
    assert [each["scopes"] for each in logs] == [["telepathy"]], "one warning"
    assert (await KeyRing(keys, Channels(redis)).find(secret))[0].scopes == (Scope.LIVE,)
