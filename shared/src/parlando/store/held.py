"""Counts what keys and owners hold at once: live sessions, and waiting jobs.

Each is a name that counts until it is released, or isn't renewed any more: what a killed gateway held counts
until its time is over.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from parlando.store import limit_keys as names
from parlando.store.connection import Redis, Scripts, retried

AT_ONCE: Final = 1000
"""Names that one call releases."""
MOST_HELD: Final = 10_000
"""Names that are read of an owner, and of a key."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds something. `owner`: a fingerprint. `key_id`: "" for the keys of `API_KEYS`."""

    owner: str
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """What is held at once. `reached`: the limit that is reached (`owner`, `key`), or "" if it was counted.

    `owner_ms`, `key_ms`: audio of the running sessions that isn't in the usage yet.
    """

    reached: str
    owner: int
    key: int
    owner_ms: int = 0
    key_ms: int = 0


class Held:
    """What is held of one kind: `limit_keys.SESSIONS` or `JOBS`. Every call raises `UnavailableError`."""

    def __init__(self, redis: Redis, what: str) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._what = what

    def _keys(self, holder: Holder) -> list[str]:
        return [
            names.held(holder.owner, self._what),
            names.held_by_key(holder.owner, self._what, holder.key_id),
            names.running(holder.owner),
        ]

    async def hold(
        self,
        holder: Holder,
        name: str,
        *,
        seconds: float,
        owner_limit: int = 0,
        key_limit: int = 0,
        unless_full: bool = True,
        pending_ms: int | None = None,
        within_s: float = 8.0,
    ) -> Count:
        """Count `name` for `seconds`, or renew it; at a limit (0: none) it isn't counted if `unless_full`.

        `pending_ms`: audio of the session that isn't in the usage yet; None for as before. `within_s`: for
        which the call is retried while Redis can't be reached.
        """
        pending = "" if pending_ms is None else max(0, pending_ms)
        arguments = [name, seconds, owner_limit, key_limit, int(not unless_full), pending]
        answer = await self._scripts.run(
            "limit_hold", self._keys(holder), [*arguments, holder.key_id or names.NO_KEY], within=within_s
        )
        verdict = answer[0].decode()
        return Count("" if verdict == "ok" else verdict, *map(int, answer[1:]))

    async def release(self, holder: Holder, released: Sequence[str]) -> None:
        """Count these names no longer."""
        for start in range(0, len(released), AT_ONCE):
            await self._scripts.run("limit_release", self._keys(holder), [*released[start : start + AT_ONCE]])

    async def held(self, holder: Holder) -> dict[str, float]:
        """The names that the owner and the key hold, and until when (unix time)."""
        owner, key, _ = self._keys(holder)

        async def ask() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in (owner, key):
                    pipe.zrange(name, 0, MOST_HELD - 1, withscores=True)
                found: list[Any] = await pipe.execute()
            return found

        return {name.decode(): until for found in await retried(ask) for name, until in found}

    async def count(self, holder: Holder) -> Count:
        """How many names are held, by this machine's clock."""
        owner, key, _ = self._keys(holder)
        now = time.time()

        async def ask() -> list[int]:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zcount(owner, now, "+inf")
                pipe.zcount(key, now, "+inf")
                counted: list[int] = await pipe.execute()
            return counted

        return Count("", *await retried(ask))
