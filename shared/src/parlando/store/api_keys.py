"""API keys in Redis: create, list, rotate, revoke. Their secrets can't be read again."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from parlando.domain.access import PREFIX, ApiKey, Scope, known_scopes
from parlando.domain.limits import NAMES, NO_LIMITS, Limits
from parlando.errors import ApiKeyNotFoundError, AtCapacityError, ConflictError
from parlando.ids import fingerprint
from parlando.store.access_keys import (
    API_KEY_CHANNEL,
    API_KEY_USES,
    API_KEYS,
    API_KEYS_REMOVED,
    token_sessions,
)
from parlando.store.connection import Redis, Scripts, retried

MAX_KEYS: Final = 1000
"""Maximum number of keys of a cluster, ended ones included until they are removed."""
KEPT_S: Final = 30 * 86_400
"""Seconds after which a revoked or expired key is removed from the list; sooner if there is no room."""
MAX_REMOVED: Final = 100_000
"""Maximum number of removed keys that are noted."""
REMOVED_KEPT_S: Final = 30 * 86_400
"""Seconds for which Redis notes that a key was removed; a gateway's copy is not that old."""
ATTEMPTS: Final = 10

log = structlog.get_logger(part="keys")


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a new key shall be; see `ApiKey`."""

    name: str
    owner: str
    owner_name: str
    scopes: tuple[Scope, ...]
    doors: tuple[str, ...] = ()
    expires_at: int = 0
    limits: Limits = NO_LIMITS


def new_secret(key_id: str) -> str:
    """A new secret of a key, with 256 random bits."""
    return f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"


def _removable(known: Mapping[str, ApiKey], now: float) -> list[str]:
    """The keys that ended long ago, and so many others that have ended that there is room for a new one."""
    ended = [key for key in known.values() if key.ended_at and key.ended_at <= now]
    ended.sort(key=lambda key: key.ended_at)
    old = sum(key.ended_at + KEPT_S < now for key in ended)
    return [key.id for key in ended[: max(old, len(known) - MAX_KEYS + 1)]]


class ApiKeys:
    """The stored keys. Every call raises `UnavailableError`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._unknown_scopes: set[str] = set()  # those of which a warning was logged

    async def all(self) -> dict[str, ApiKey]:
        """All keys by id."""
        found: Any = await retried(lambda: self._redis.hgetall(API_KEYS))
        return {name.decode(): self._parsed(record) for name, record in found.items()}

    async def get(self, key_id: str) -> ApiKey:
        """A key. Raises `ApiKeyNotFoundError`."""
        return (await self._read(key_id))[1]

    async def find(self, key_ids: Sequence[str]) -> list[ApiKey | None]:
        """The keys with these ids; None for each that doesn't exist."""
        found: Any = await retried(lambda: self._redis.hmget(API_KEYS, key_ids))
        return [self._parsed(record) if record else None for record in found]

    async def uses(self) -> dict[str, int]:
        """When keys were last used: id → unix seconds."""
        found: Any = await retried(lambda: self._redis.hgetall(API_KEY_USES))
        return {name.decode(): int(at) for name, at in found.items()}

    async def create(self, request: KeyRequest) -> tuple[ApiKey, str]:
        """Create a key: the key, and its secret. Raises `AtCapacityError` at `MAX_KEYS`."""
        now = int(time.time())
        key_id = secrets.token_hex(6)
        secret = new_secret(key_id)
        key = ApiKey(
            id=key_id,
            name=request.name,
            owner=request.owner,
            owner_name=request.owner_name,
            scopes=request.scopes,
            doors=request.doors,
            expires_at=request.expires_at,
            limits=request.limits,
            digest=fingerprint(secret),
            created_at=now,
        )
        if not await self._put(key, b"", _removable(await self.all(), now)):
            raise ConflictError("The key's id is in use; try again")
        return key, secret

    async def rotate(self, key_id: str, *, grace_s: int = 0) -> tuple[ApiKey, str]:
        """Give a key another secret; the one before is accepted for `grace_s`.

        Raises
        ------
        ApiKeyNotFoundError, ConflictError

        """
        secret, now = new_secret(key_id), int(time.time())

        def rotated(key: ApiKey) -> ApiKey:
            if refusal := key.refusal(key.version, now):
                raise ConflictError(f"{refusal}; create another one")
            changes = {
                "digest": fingerprint(secret),
                "version": key.version + 1,
                "previous_digest": key.digest if grace_s else "",
                "previous_until": now + grace_s if grace_s else 0,
                "rotated_at": now,
            }
            return key.model_copy(update=changes)

        return await self._changed(key_id, rotated), secret

    async def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key; repeats change nothing. Raises `ApiKeyNotFoundError`."""
        now = int(time.time())
        return await self._changed(
            key_id, lambda key: key if key.revoked_at else key.model_copy(update={"revoked_at": now})
        )

    async def limit(self, key_id: str, limits: Limits) -> ApiKey:
        """Set all limits of a key. Raises `ApiKeyNotFoundError`."""
        return await self._changed(key_id, lambda key: key.model_copy(update={"limits": limits}))

    async def remove(self, key_ids: Sequence[str]) -> None:
        """Remove keys that are revoked, so that no gateway stores them again. Safe to repeat."""
        now = int(time.time())

        async def remove() -> None:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hdel(API_KEYS, *key_ids)
                pipe.hdel(API_KEY_USES, *key_ids)
                pipe.zadd(API_KEYS_REMOVED, dict.fromkeys(key_ids, now))
                pipe.zremrangebyscore(API_KEYS_REMOVED, "-inf", now - REMOVED_KEPT_S)
                pipe.zremrangebyrank(API_KEYS_REMOVED, 0, -MAX_REMOVED - 1)
                pipe.expire(API_KEYS_REMOVED, REMOVED_KEPT_S)
                await pipe.execute()
            await self._redis.publish(API_KEY_CHANNEL, key_ids[0])  # a Redis Cluster has it in no pipeline

        if key_ids:
            await retried(remove)

    async def mark_used(self, times: Mapping[str, int]) -> None:
        """Note when keys were last used: id → unix seconds."""
        pairs = [each for key_id, at in times.items() for each in (key_id, at)]
        await self._scripts.run("key_used", [API_KEYS, API_KEY_USES], pairs)

    async def restore(self, keys: Iterable[ApiKey]) -> int:
        """Store each key that Redis has lost, or has in an older version. Returns how many were stored."""
        pairs = [each for key in keys for each in (key.id, key.model_dump_json())]
        names = [API_KEYS, API_KEYS_REMOVED, API_KEY_CHANNEL]
        return int(await self._scripts.run("key_restore", names, pairs))

    # --- sessions of tokens -----------------------------------------------------------------------

    async def count_session(self, token: str, name: str, *, limit: int, expires_at: int) -> bool:
        """Count an opening (`name`) with a token; False if it has opened `limit` sessions already."""
        keys = [token_sessions(token)]
        return bool(await self._scripts.run("token_session", keys, [name, limit, expires_at]))

    async def uncount_session(self, token: str, name: str) -> None:
        """Take back an opening that failed."""
        await retried(lambda: self._redis.srem(token_sessions(token), name))

    # --- one key ----------------------------------------------------------------------------------

    async def _read(self, key_id: str) -> tuple[bytes, ApiKey]:
        found: Any = await retried(lambda: self._redis.hget(API_KEYS, key_id))
        if found is None:
            raise ApiKeyNotFoundError(f"No API key {key_id} is known")
        return found, self._parsed(found)

    def _parsed(self, record: bytes) -> ApiKey:
        """A key of a stored record, without scopes that only a newer release knows."""
        fields = orjson.loads(record)
        scopes = known_scopes(fields["scopes"])
        if len(scopes) < len(fields["scopes"]):
            unknown = sorted({*fields["scopes"]} - {*scopes} - self._unknown_scopes)
            self._unknown_scopes.update(unknown)
            if unknown:
                log.warning("keys.unknown_scopes", scopes=unknown, effect="keys are read without them")
        limits = {name: value for name, value in fields.get("limits", {}).items() if name in NAMES}
        return ApiKey.model_validate({**fields, "scopes": scopes, "limits": limits})

    async def _changed(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        for _ in range(ATTEMPTS):
            stored, key = await self._read(key_id)
            changed = change(key)
            if await self._put(changed, stored):
                return changed
        raise ConflictError(f"The API key {key_id} is being changed by others; try again")

    async def _put(self, key: ApiKey, before: bytes, old: Iterable[str] = ()) -> bool:
        """Store a key if its record is `before`; False if it isn't."""
        answer = await self._scripts.run(
            "key_put",
            [API_KEYS, API_KEY_USES, API_KEYS_REMOVED, API_KEY_CHANNEL],
            [
                key.id,
                before,
                key.model_dump_json(),
                MAX_KEYS,
                int(time.time()),
                REMOVED_KEPT_S,
                MAX_REMOVED,
                *old,
            ],
        )
        if answer == b"full":
            raise AtCapacityError(f"The cluster has {MAX_KEYS} API keys, which is the maximum")
        return bool(answer == b"ok")
