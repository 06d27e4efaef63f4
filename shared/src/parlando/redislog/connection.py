"""Connections to Redis, and the one rule for trying a call again."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final, TypeVar

import redis.asyncio as aioredis
import stamina
from redis import exceptions as broken
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError

from parlando.errors import UnavailableError
from parlando.metrics import REDIS_RETRIES

Redis = aioredis.Redis
T = TypeVar("T")

BROKEN: Final = (
    broken.ConnectionError,
    broken.TimeoutError,
    broken.BusyLoadingError,
    broken.ReadOnlyError,
    broken.TryAgainError,
    OSError,
)
"""What a restart or failover of Redis looks like from here."""


def connect(url: str, *, read_timeout: float = 5.0, connections: int = 256) -> Redis:
    """A pool of connections. Replies are bytes; nothing is retried behind our back."""
    client: Redis = aioredis.from_url(
        url,
        socket_timeout=read_timeout,
        socket_connect_timeout=2.0,
        max_connections=connections,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return client


def _worth_retrying(error: Exception) -> bool:
    if isinstance(error, AuthenticationError) or not isinstance(error, BROKEN):
        return False
    REDIS_RETRIES.inc()
    return True


async def once(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of `call`. Raises `UnavailableError` if Redis can't be reached, or is full."""
    try:
        return await call()
    except BROKEN as error:
        raise UnavailableError(f"Redis can't be reached: {error}") from error
    except broken.ResponseError as error:
        if "command not allowed when used memory" not in str(error):
            raise
        raise UnavailableError("Redis is out of memory; give it more, or wait until work is done") from error


async def retried(call: Callable[[], Awaitable[T]], *, within: float = 8.0) -> T:
    """The answer of `call`, tried again while Redis restarts or fails over. `call` must be repeatable.

    Raises
    ------
    UnavailableError
        if Redis doesn't come back `within` that many seconds, or is full.

    """

    async def persistent() -> T:
        async for attempt in stamina.retry_context(
            on=_worth_retrying, attempts=None, timeout=within, wait_initial=0.05, wait_max=0.5
        ):
            with attempt:
                return await call()
        raise AssertionError("unreachable")

    return await once(persistent)


def _sources() -> dict[str, str]:
    """Script name → its text; one that begins with `-- with <name>` gets that file put in front."""
    texts = {
        path.name.removesuffix(".lua"): path.read_text()
        for path in (files("parlando.redislog") / "lua").iterdir()
        if path.name.endswith(".lua")
    }
    for name, text in texts.items():
        if text.startswith("-- with "):
            prelude = text.partition("\n")[0].removeprefix("-- with ").strip()
            texts[name] = texts[prelude] + text
    return texts


class Scripts:
    """The Lua scripts of `lua/`, by name, run by hash and loaded when the server doesn't know them."""

    _sources: Final = _sources()

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._scripts: dict[str, Any] = {
            name: redis.register_script(source) for name, source in self._sources.items()
        }

    async def run(self, name: str, keys: list[str], args: list[Any], *, within: float = 8.0) -> Any:
        """Run script `name`, trying again while Redis is away. The scripts are safe to repeat."""
        script = self._scripts[name]
        return await retried(lambda: script(keys=keys, args=args), within=within)

    async def run_many(self, name: str, calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run script `name` once per (keys, args), in one round trip."""
        script = self._scripts[name]

        async def once() -> list[Any]:
            async with self.redis.pipeline(transaction=False) as pipe:
                for keys, args in calls:
                    pipe.evalsha(script.sha, len(keys), *keys, *args)
                results: list[Any] = await pipe.execute(raise_on_error=False)
            if any(isinstance(result, NoScriptError) for result in results):
                await self.redis.script_load(self._sources[name])
                return await once()
            for result in results:
                if isinstance(result, Exception):
                    raise result
            return results

        return await retried(once)
