"""Clients of redis-py with a time-out per call and pools that wait for a free connection.

The time-out is `asyncio.timeout` around the whole call. redis-py's `socket_timeout` must stay unset: it
passes each write through `asyncio.wait_for`, which on Python 3.11 swallows a cancellation that arrives when
the write has just completed. A task cancelled at that moment would never end.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, TypeVar

import redis.asyncio as aioredis
from redis import exceptions as broken
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterPipeline
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

ANSWER_S: Final = 5.0
"""Time-out of a call, including the wait for a free connection. Blocking reads must block for less."""
CONNECT_S: Final = 2.0
PIPELINES: Final = 32  # connections per cluster node reserved for pipelines
REFUSED: Final = "MISCONF"
"""In answers of a Redis that can't write its append-only file or snapshot."""
SENTINEL_S: Final = 1.0  # time-out of one sentinel, before the next one is asked

T = TypeVar("T")


class WritesRefusedError(broken.ReadOnlyError):
    """Redis can't write its file, usually because the disk is full, and therefore refuses writes."""


async def answered(call: Awaitable[T], within_s: float = ANSWER_S) -> T:
    """Await `call`.

    Raises
    ------
    TimeoutError
        redis-py's, after `within_s` seconds.
    WritesRefusedError
        if Redis can't write to its disk.

    """
    try:
        async with asyncio.timeout(within_s):
            return await call
    except TimeoutError as error:
        raise broken.TimeoutError(f"Redis gave no answer within {within_s:g} s") from error
    except broken.ResponseError as error:
        _check_refused(error)
        raise


def _check_refused(answer: object) -> None:
    """Raises `WritesRefusedError` if Redis has answered that it can't write to its disk."""
    if isinstance(answer, broken.ResponseError) and REFUSED in str(answer):
        raise WritesRefusedError(f"Redis can't write to its disk; make room there ({answer})") from answer


async def _all_answered(call: Awaitable[list[Any]]) -> list[Any]:
    """As `answered`, also if the errors of a pipeline are among its answers."""
    answers = await answered(call)
    for answer in answers:
        _check_refused(answer)
    return answers


class _Waiting(ConnectionPool):
    """A pool in which a call beyond `max_connections` waits until a connection is released.

    redis-py's `BlockingConnectionPool` isn't used: it loses the connection of a task that is cancelled while
    it waits for the lock to release it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places = asyncio.Semaphore(self.max_connections)
        self._placed: set[AbstractConnection] = set()

    async def get_connection(self, *args: Any, **options: Any) -> AbstractConnection:
        await self._places.acquire()
        try:
            connection: AbstractConnection = await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            self._places.release()
            raise
        self._placed.add(connection)
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        try:
            await super().release(connection)
        finally:
            if connection in self._placed:  # false if connecting failed and it was never handed out
                self._placed.discard(connection)
                self._places.release()


class _WaitingSentinel(_Waiting, SentinelConnectionPool):
    """The same for connections to the master found by Sentinel."""


class _Pipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        return await _all_answered(super().execute(raise_on_error))


class Client(aioredis.Redis):
    """A client of one Redis server, or of the master found by Sentinel.

    `replicas`: number of replicas that must have an acknowledged write (0 without Sentinel).
    """

    replicas = 0
    answer_s = ANSWER_S

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command with time-out `answer_s`."""
        call = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return await answered(call, self.answer_s)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """A pipeline with one time-out for all its commands together."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _SentinelClient(Client):
    """A client of a sentinel, with a short time-out, so that the next sentinel is asked soon."""

    answer_s = SENTINEL_S


class _ClusterPipeline(ClusterPipeline):
    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        return await _all_answered(super().execute(raise_on_error, allow_redirections))


class ClusterClient(aioredis.RedisCluster):
    """A client of Redis Cluster that is safe for concurrent tasks and finds the slot of an XREAD locally."""

    def __init__(self, *, max_connections: int, **options: Any) -> None:
        super().__init__(max_connections=max_connections + PIPELINES, **options)
        self._places = asyncio.Semaphore(max_connections)  # a node's pool raises when it is exhausted
        self._first = asyncio.Lock()
        self._known = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command with time-out `ANSWER_S`."""
        return await answered(self._execute(*args, **options))

    async def _execute(self, *args: Any, **options: Any) -> Any:
        if not self._known:  # concurrent calls of `initialize` would close each other's connections
            async with self._first:
                if not self._known:
                    await self.initialize()
                    self._known = True
        async with self._places:
            try:
                return await super().execute_command(*args, **options)
            except (AttributeError, RuntimeError) as error:
                # redis-py raises these when the nodes are initialised again meanwhile, after one was lost
                raise broken.ConnectionError(f"The connection was closed meanwhile: {error}") from error

    async def _determine_slot(self, command: str, *args: Any) -> int:
        if command in ("XREAD", "XREADGROUP"):
            first = next(n for n, each in enumerate(args) if each in (b"STREAMS", "STREAMS")) + 1
            return self.keyslot(args[first])  # all keys are in one partition
        if command == "EVALSHA" and int(args[1]):
            return self.keyslot(args[2])  # the same; there may be hundreds
        return await super()._determine_slot(command, *args)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        """A pipeline with one time-out for all its commands together."""
        return _ClusterPipeline(self, transaction)  # type: ignore[abstract]


def single(url: str, **options: Any) -> Client:
    """A client of one server."""
    pool = _Waiting.from_url(url, **options)
    client = Client.from_pool(pool)
    assert isinstance(client, Client)
    return client


def by_sentinel(
    hosts: Sequence[tuple[str, int]], master: str, *, replicas: int, connect: dict[str, Any], **options: Any
) -> Client:
    """A client of the master called `master` by the sentinels at `hosts`."""
    sentinel = Sentinel(hosts, sentinel_kwargs=connect)  # type: ignore[no-untyped-call]
    sentinel.sentinels = [_SentinelClient(host=host, port=port, **connect) for host, port in hosts]
    client: Client = sentinel.master_for(
        master, redis_class=Client, connection_pool_class=_WaitingSentinel, **connect, **options
    )
    client.replicas = replicas
    return client
