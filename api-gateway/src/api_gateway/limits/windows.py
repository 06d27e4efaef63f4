"""Requests a minute, as moving windows of the library `limits`, with this process's client of Redis.

The library's own clients have neither the time-outs nor the pools of `clients.py`, nor all options of
`REDIS_URL`; its limits, storage and scripts are used with ours. A window is a list with the time of each
request, so it has at most as many entries as the limit.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import redis
from limits import RateLimitItemPerMinute
from limits.aio.storage.base import Storage
from limits.aio.storage.redis import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import MovingWindowRateLimiter
from limits.typing import AsyncRedisClient
from redis.exceptions import NoScriptError

from parlando.store.batches import Batches, Call
from parlando.store.connection import Redis, once
from parlando.store.limit_keys import WINDOWS

WINDOW_S: Final = 60
NAMESPACE: Final = "requests"


class _Bridge(RedispyBridge):
    """The library's scripts, run by a client that exists."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.key_prefix = WINDOWS
        self.dependency = redis
        self.storage = cast(AsyncRedisClient, client)
        self.connection_getter = lambda _: cast(AsyncRedisClient, client)

    async def take(self, calls: Sequence[Call]) -> list[tuple[bool, float, int]]:
        """`acquire_entry`, then `get_moving_window`, of windows ([key], [limit]), in one round trip."""
        now = time.time()
        acquire, look = self.lua_acquire_moving_window, self.lua_moving_window
        async with self._client.pipeline(transaction=False) as pipe:
            for [key], [limit] in calls:
                name = self.prefixed_key(key)
                pipe.execute_command("EVALSHA", acquire.sha, 1, name, now, limit, WINDOW_S, 1)
                pipe.execute_command("EVALSHA", look.sha, 1, name, now - WINDOW_S, limit)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        if any(isinstance(answer, NoScriptError) for answer in answers[::2]):  # Redis has restarted
            for source in (self.SCRIPT_ACQUIRE_MOVING_WINDOW, self.SCRIPT_MOVING_WINDOW):
                await self._client.script_load(source)
            return await self.take(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return [
            (bool(taken), *((float(window[0]), window[1]) if window else (now, 0))) for taken, window in pairs
        ]


class ClientStorage(RedisStorage):
    """The library's storage in Redis, over a client that exists."""

    STORAGE_SCHEME: Any = None  # can't be made by the library of an address

    def __init__(self, client: Redis) -> None:
        Storage.__init__(self)
        self.bridge = self.own = _Bridge(client)
        self.bridge.register_scripts()


@dataclass(frozen=True, slots=True)
class Window:
    """A window after a request. `resets_at`: unix time at which its oldest request leaves it."""

    limit: int
    remaining: int
    resets_at: float


class RequestWindows:
    """The windows by name. Every call raises `UnavailableError`, without retries.

    Requests that come while others are being counted are counted together in the next round trip.
    """

    def __init__(self, client: Redis) -> None:
        self._storage = ClientStorage(client)
        self._windows = MovingWindowRateLimiter(self._storage)
        self._taking = Batches(lambda calls: once(lambda: self._storage.own.take(calls)))

    async def take(self, who: str, limit: int) -> tuple[bool, Window]:
        """Count a request of `who`; False if `limit` requests were counted in the last minute."""
        taken, oldest, count = await self._taking.run([_item(limit).key_for(who)], [limit])
        return taken, Window(limit, max(0, limit - count), oldest + WINDOW_S)

    async def look(self, who: str, limit: int) -> Window:
        """The window of `who`."""
        found = await once(lambda: self._windows.get_window_stats(_item(limit), who))
        return Window(limit, max(0, found.remaining), found.reset_time)


def _item(limit: int) -> RateLimitItemPerMinute:
    return RateLimitItemPerMinute(limit, namespace=NAMESPACE)
