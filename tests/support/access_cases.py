"""One case for each Lua script on API keys and tokens, for the test of lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from parlando.domain.access import Scope
from parlando.store.api_keys import ApiKeys, KeyRequest
from parlando.store.audit import AuditEntry, AuditLog
from parlando.store.owner_data import OwnerData
from support.song_cases import Stage

REQUEST: Final = KeyRequest("phone", "o" * 64, "", (Scope.LIVE,))


async def _key_put(stage: Stage) -> Any:
    keys = ApiKeys(stage.redis)
    first, _ = await keys.create(REQUEST)
    stage.arm()
    second, secret = await keys.rotate(first.id)
    return second.id, second.version, second.version_of(secret), len(await keys.all())


async def _key_restore(stage: Stage) -> Any:
    keys = ApiKeys(stage.redis)
    key, _ = await keys.create(REQUEST)
    revoked = await keys.revoke(key.id)
    other, _ = await keys.create(REQUEST)
    await stage.redis.flushall()
    await keys.restore([key])
    stage.arm()
    await keys.restore([revoked, other])
    found = await keys.all()
    return found == {key.id: revoked, other.id: other}


async def _key_used(stage: Stage) -> Any:
    keys = ApiKeys(stage.redis)
    key, _ = await keys.create(REQUEST)
    stage.arm()
    await keys.mark_used({key.id: 1_700_000_000, "f" * 12: 1_700_000_000})
    return await keys.uses() == {key.id: 1_700_000_000}


async def _token_session(stage: Stage) -> Any:
    keys = ApiKeys(stage.redis)
    counting = {"limit": 1, "expires_at": 4_000_000_000}
    stage.arm()
    first = await keys.count_session("t", "one", **counting)
    return first, await keys.count_session("t", "other", **counting)


async def _audit(stage: Stage) -> Any:
    log = AuditLog(stage.redis, days=1, limit=1000)
    made = {"at_ms": 1, "owner": "o" * 16, "key": "k", "outcome": "ok"}
    stage.arm()
    await log.append([AuditEntry(action=action, **made) for action in ("key.create", "key.revoke")])
    page = await log.page(since_ms=0, limit=10, wanted=lambda entry: True)
    return [entry.action for _, entry in page.entries], page.more


async def _evict(stage: Stage) -> Any:
    writer = await stage.open()
    await writer.append(b"\1\0" * 16_000, 1 << 30)
    stage.arm()
    await OwnerData(stage.redis, partitions=1).end_session("s")
    return [each.state async for each in OwnerData(stage.redis, partitions=1).sessions()]


async def _forget_owner(stage: Stage) -> Any:
    await stage.submit()
    await stage.processor.admit(room=True)
    data = OwnerData(stage.redis, partitions=1)
    [job] = [each async for each in data.jobs()]
    stage.arm()
    await data.erase_traces(job.prefix, {job.id})
    return await stage.redis.xlen("stt:{0}:feed")


CASES: Final[dict[str, Callable[[Any], Awaitable[Any]]]] = {
    "audit": _audit,
    "evict": _evict,
    "forget_owner": _forget_owner,
    "key_put": _key_put,
    "key_restore": _key_restore,
    "key_used": _key_used,
    "token_session": _token_session,
}
