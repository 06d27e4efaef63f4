"""Retention times of owners, and which gateway applies them.

| key                    | type   | content                                                             |
|------------------------|--------|---------------------------------------------------------------------|
| stt:{owners}:retention | hash   | `<owner>:<setter>:<time>` → days                                    |
| stt:{owners}:sweeper   | string | the gateway that applies them at present; expires                   |

`<owner>`: 16 digits, or `none`. `<setter>`: `admin` or `own`. `<time>`: a field of `Retention`. Each time has
its own field, so changes of different times at once keep each other.
"""

from collections import defaultdict
from typing import Any, Final, Literal

from parlando.domain.retention import NAMES, OwnerRetention, Retention, RetentionChange
from parlando.store.connection import Redis, retried

RETENTION: Final = "stt:{owners}:retention"
SWEEPER: Final = "stt:{owners}:sweeper"
SETTERS: Final = ("admin", "own")
_PLACES: Final = [(setter, time) for setter in SETTERS for time in NAMES]


class Retentions:
    """Retention times. `owner`: first 16 digits of the fingerprint. Raises `UnavailableError`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def get(self, owner: str) -> OwnerRetention:
        """What was set for an owner."""
        fields = _fields(owner)
        found: Any = await retried(lambda: self._redis.hmget(RETENTION, fields))
        return _read({field: days for field, days in zip(fields, found, strict=True) if days})

    async def all(self) -> dict[str, OwnerRetention]:
        """What was set, by owner ("" without keys)."""
        found: Any = await retried(lambda: self._redis.hgetall(RETENTION))
        by_owner: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        for field, days in found.items():
            owner = field.decode().partition(":")[0]
            by_owner["" if owner == "none" else owner][field.decode()] = days
        return {owner: _read(times) for owner, times in by_owner.items()}

    async def change(
        self, owner: str, setter: Literal["admin", "own"], change: RetentionChange
    ) -> OwnerRetention:
        """Change the times that an administrator or the owner has set. Returns all that is set then."""
        asked = {_field(owner, setter, name): getattr(change, name) for name in change.model_fields_set}
        kept: dict[Any, Any] = {field: days for field, days in asked.items() if days}
        gone = [field for field, days in asked.items() if not days]

        async def write() -> None:
            async with self._redis.pipeline(transaction=True) as pipe:
                if kept:
                    pipe.hset(RETENTION, mapping=kept)
                if gone:
                    pipe.hdel(RETENTION, *gone)
                await pipe.execute()

        await retried(write)
        return await self.get(owner)

    async def remove(self, owner: str) -> bool:
        """Forget an owner's times. Returns whether there were any."""
        return bool(await retried(lambda: self._redis.hdel(RETENTION, *_fields(owner))))

    async def may_sweep(self, worker: str, *, for_s: int) -> bool:
        """Whether `worker` applies the times now: one gateway does in `for_s` seconds."""
        return bool(await retried(lambda: self._redis.set(SWEEPER, worker, nx=True, ex=for_s)))


def _field(owner: str, setter: str, time: str) -> str:
    return f"{owner or 'none'}:{setter}:{time}"


def _fields(owner: str) -> list[str]:
    return [_field(owner, setter, time) for setter, time in _PLACES]


def _read(times: dict[str, bytes]) -> OwnerRetention:
    """The times of one owner from its fields. Those that only a newer release knows are ignored."""
    known: dict[str, dict[str, bytes]] = {setter: {} for setter in SETTERS}
    for field, days in times.items():
        _, setter, time = field.split(":", 2)
        if setter in known:
            known[setter][time] = days
    return OwnerRetention(**{setter: Retention.model_validate(days) for setter, days in known.items()})
