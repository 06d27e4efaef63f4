"""Connections to Redis, retries, and running Lua scripts."""

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
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
from parlando.store.batches import Batches, Call
from parlando.store.keys import answer as answer_of
from parlando.store.script_sources import REMEMBERED, SOURCES, TOGETHER

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
"""Exceptions during a restart or failover of Redis, or while its disk is full."""


def connect(url: str, *, connections: int = 256) -> Redis:
    """A client with a pool of `connections` to `url` (see `addresses`). Replies are bytes.

    A call waits while all connections are in use. The client retries only redirections of a Redis Cluster. A
    call that takes longer than `clients.ANSWER_S` raises.
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
    """The unix time in seconds and microseconds on the server that holds `key`."""
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
    """Await `call` without retries. Raises `UnavailableError` if Redis is unreachable or out of memory."""
    try:
        return await call()
    except BROKEN as error:
        raise UnavailableError(f"Redis can't be reached: {error}") from error
    except broken.ResponseError as error:
        explained = _explained(error)
        if explained is error:
            raise
        raise explained from error


def _explained(error: broken.ResponseError) -> Exception:
    """`UnavailableError` if Redis is out of memory, otherwise the error itself."""
    if "command not allowed when used memory" not in str(error):
        return error
    return UnavailableError("Redis is out of memory; raise its maxmemory, or wait until queued work is done")


async def retried(call: Callable[[], Awaitable[T]], *, within: float = 8.0) -> T:
    """Await `call`, retrying while Redis restarts or fails over. `call` must be idempotent.

    Raises
    ------
    UnavailableError
        if Redis is unreachable for `within` seconds, or out of memory.

    """
    try:
        return await once(call)  # the common case; the retry machinery costs more than the call itself
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
    """Read once from each partition, in one round trip (in a Redis Cluster: one per node).

    `ask(pipeline, partition)` adds the command to the pipeline. Raises `UnavailableError`.
    """

    async def pipelined() -> list[Any]:
        async with redis.pipeline(transaction=False) as pipe:
            for partition in range(partitions):
                ask(pipe, partition)
            answers: list[Any] = await pipe.execute()
        return answers

    return await retried(pipelined)


DURABLE: Final = frozenset(
    {
        "append",
        "append_raw",
        "audit",
        "body",
        "claim_upload",
        "commit",
        "control",
        "create_upload",
        "forward",
        "key_put",
        "open",
        "part",
        "submit_job",
    }
)
"""Scripts whose effect is acknowledged to a client: they wait until the replicas have it."""
REPLICATED_MS: Final = 100  # maximum wait for the replicas …
ALONE_S: Final = 5.0  # … and the time without waiting after the replicas didn't answer


class Scripts:
    """The Lua scripts of `lua/` by name. They are run by hash, and loaded if the server doesn't have them.

    With Sentinel, the scripts of `DURABLE` wait for the replicas, so that a failover loses no acknowledged
    write. While the replicas don't answer, the cluster continues without waiting.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._replicas = redis.replicas if isinstance(redis, clients.Client) else 0
        self._alone_until = 0.0
        self._scripts: dict[str, Any] = {
            name: redis.register_script(source) for name, source in SOURCES.items()
        }
        self._together: dict[str, Any] = {
            name: redis.register_script(source) for name, source in TOGETHER.items()
        }
        self._batches: dict[tuple[str, int], Batches] = {}

    async def run(self, name: str, keys: list[str], args: list[Any], *, within: float = 8.0) -> Any:
        """Run script `name`, retrying while Redis is unreachable. A repeat returns the first run's answer."""
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
            log.warning("redis.not_replicated", effect="a failover now could lose acknowledged writes")
            self._alone_until = time.monotonic() + ALONE_S
        return answer

    async def run_many(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """Run script `name` once for each (keys, args), in one round trip. The script must be idempotent."""

        async def all_or_none() -> list[Any]:
            results = await self._pipelined(name, calls)
            for result in results:
                if isinstance(result, Exception):
                    raise result
            return results

        return await retried(all_or_none)

    async def run_together(self, name: str, group: int, keys: list[str], args: list[Any]) -> Any:
        """As `run`, in one round trip with the calls that other tasks make for `group`, a partition.

        The script must be one of `TOGETHER`, and idempotent.
        """
        if self._replicas:
            return await self.run(name, keys, args)
        batches = self._batches.get((name, group))
        if batches is None:
            batches = Batches(lambda calls: self._all(name, calls))
            self._batches[name, group] = batches
        return await batches.run(keys, args)

    async def _all(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """Each call's answer or exception."""
        if len(calls) > 1:
            first_keys, first_args = calls[0]
            keys = [key for keys, _ in calls for key in keys]
            args = [arg for _, args in calls for arg in args]
            script = self._together[name]
            try:
                answers: list[Any] = await once(
                    lambda: script(keys=keys, args=[len(first_keys), len(first_args), *args])
                )
            except (UnavailableError, broken.ResponseError):
                pass  # each is made again: a repetition changes nothing, and says which of them has failed
            else:
                return answers
        return await retried(lambda: self._each(name, calls))

    async def _each(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """Each call's answer or exception. Raises if a call failed that may succeed in a repetition."""
        results = await self._pipelined(name, calls)
        for at, result in enumerate(results):
            if isinstance(result, BROKEN):
                raise result
            if isinstance(result, broken.ResponseError):
                results[at] = _explained(result)
        return results

    async def _pipelined(self, name: str, calls: Sequence[Call]) -> list[Any]:
        sha = self._scripts[name].sha
        async with self.redis.pipeline(transaction=False) as pipe:
            for keys, args in calls:
                pipe.execute_command("EVALSHA", sha, len(keys), *keys, *args)
            results: list[Any] = await pipe.execute(raise_on_error=False)
        # Another client may have loaded the script between two of the calls.
        missing = [at for at, result in enumerate(results) if isinstance(result, NoScriptError)]
        if missing:
            await self.redis.script_load(SOURCES[name])
            again = await self._pipelined(name, [calls[at] for at in missing])
            for at, result in zip(missing, again, strict=True):
                results[at] = result
        return results
