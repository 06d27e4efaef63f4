"""Connections to Redis, and the one rule for trying a call again."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import redis.asyncio as aioredis
import stamina
import structlog
from redis import exceptions as broken
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError

from parlando.errors import UnavailableError
from parlando.metrics import REDIS_RETRIES
from parlando.store import addresses, clients
from parlando.store.keys import answer as answer_of
from parlando.store.script_sources import REMEMBERED, SOURCES

log = structlog.get_logger(part="redis")

Redis = aioredis.Redis
T = TypeVar("T")

BROKEN: Final = (
    broken.ConnectionError,
    broken.TimeoutError,
    broken.BusyLoadingError,
    broken.ReadOnlyError,
    broken.TryAgainError,
    broken.ClusterDownError,
    broken.MovedError,
    broken.RedisClusterException,
    OSError,
)
"""What a restart or failover of Redis looks like from here."""


def connect(url: str, *, connections: int = 256) -> Redis:
    """A pool of connections to what `url` names (see `addresses`). Replies are bytes.

    A call beyond `connections` at a time waits for one. Nothing is retried but what finding the right node of
    a cluster takes; an answer that takes longer than `clients.ANSWER_S` raises.
    """
    address = addresses.parse(url)
    timeouts: dict[str, Any] = {
        "socket_timeout": None,  # see `clients`
        "socket_connect_timeout": clients.CONNECT_S,
        "socket_keepalive": True,
    }
    if address.kind == "cluster":
        clustered = clients.ClusterClient(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            max_connections=connections,
            retry=Retry(NoBackoff(), 1),
            protocol=2,
            **timeouts,
            **address.options,
        )
        return cast(Redis, clustered)
    pooled: dict[str, Any] = {"max_connections": connections, "retry": Retry(NoBackoff(), 0), "protocol": 2}
    if address.kind == "sentinel":
        return clients.by_sentinel(
            address.hosts,
            address.master,
            replicas=address.replicas,
            connect=timeouts,
            **pooled,
            **address.options,
        )
    return clients.single(url, **timeouts, **pooled)


async def clock(redis: Redis, key: str) -> tuple[int, int]:
    """Unix seconds and microseconds by the clock of the server that holds `key`."""
    if isinstance(redis, aioredis.RedisCluster):
        await redis.initialize()
        node = redis.get_node_from_key(key)
        seconds, micros = await redis.time(target_nodes=node)
        return seconds, micros
    seconds, micros = await redis.time()
    return seconds, micros


def _worth_retrying(error: BaseException | None) -> bool:
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
    try:
        return await once(call)  # nearly always; what retries need costs more than the call itself
    except UnavailableError as error:
        if not _worth_retrying(error.__cause__):
            raise

    async def persistent() -> T:
        async for attempt in stamina.retry_context(
            on=_worth_retrying, attempts=None, timeout=within, wait_initial=0.05, wait_max=0.5
        ):
            with attempt:
                return await call()
        raise AssertionError("unreachable")

    return await once(persistent)


async def of_all_partitions(redis: Redis, partitions: int, ask: Callable[[Any, int], Any]) -> list[Any]:
    """The answers to one read of each partition, in one round trip (in a Redis Cluster: one per node).

    `ask(pipeline, partition)` adds the read to the pipeline. Raises `UnavailableError`.
    """

    async def pipelined() -> list[Any]:
        async with redis.pipeline(transaction=False) as pipe:
            for partition in range(partitions):
                ask(pipe, partition)
            answers: list[Any] = await pipe.execute()
        return answers

    return await retried(pipelined)


DURABLE: Final = frozenset(
    {"append", "append_raw", "body", "commit", "control", "forward", "open", "part", "submit_job"}
)
"""Scripts whose effect somebody is told of: with replicas, these wait for them."""
REPLICATED_MS: Final = 100  # how long they do …
ALONE_S: Final = 5.0  # … and how long they don't, after a replica didn't answer


class Scripts:
    """The Lua scripts of `lua/`, by name, run by hash and loaded when the server doesn't know them.

    Where Sentinel watches over replicas, what is acknowledged has reached one, so that a failover loses
    nothing; while none answers, there is nothing to wait for, and the cluster goes on without.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._replicas = redis.replicas if isinstance(redis, clients.Client) else 0
        self._alone_until = 0.0
        self._scripts: dict[str, Any] = {
            name: redis.register_script(source) for name, source in SOURCES.items()
        }

    async def run(self, name: str, keys: list[str], args: list[Any], *, within: float = 8.0) -> Any:
        """Run script `name`, trying again while Redis is away: a repeat gives the first run's answer."""
        script = self._scripts[name]
        if name in REMEMBERED:
            keys = [*keys, answer_of(keys[0], secrets.token_hex(8))]
        if self._replicas and name in DURABLE:
            return await retried(lambda: self._replicated(name, keys, args), within=within)
        return await retried(lambda: script(keys=keys, args=args), within=within)

    async def _replicated(self, name: str, keys: list[str], args: list[Any]) -> Any:
        script = self._scripts[name]
        if time.monotonic() < self._alone_until:
            return await script(keys=keys, args=args)
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.evalsha(script.sha, len(keys), *keys, *args)
            pipe.execute_command("WAIT", self._replicas, REPLICATED_MS)
            answer, reached = await pipe.execute(raise_on_error=False)
        if isinstance(answer, NoScriptError):
            await self.redis.script_load(SOURCES[name])
            return await self._replicated(name, keys, args)
        for each in (answer, reached):
            if isinstance(each, Exception):
                raise each
        if reached < self._replicas:
            log.warning("redis.alone", effect="a failover now could lose what was just acknowledged")
            self._alone_until = time.monotonic() + ALONE_S
        return answer

    async def run_many(self, name: str, calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run script `name` once per (keys, args), in one round trip."""
        script = self._scripts[name]

        async def once() -> list[Any]:
            async with self.redis.pipeline(transaction=False) as pipe:
                for keys, args in calls:
                    pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
                results: list[Any] = await pipe.execute(raise_on_error=False)
            if any(isinstance(result, NoScriptError) for result in results):
                await self.redis.script_load(SOURCES[name])
                return await once()
            for result in results:
                if isinstance(result, Exception):
                    raise result
            return results

        return await retried(once)
