"""Requests to the song recognizers: files to register, and files in which to recognise songs.

A gateway adds a request to a queue and waits for the reply, which a recognizer stores under the request's
name. The file is in the blob store and belongs to the gateway, which deletes it after the reply.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
import structlog
from redis.exceptions import ResponseError

from parlando.errors import AtCapacityError, NoRecognizerError, ParlandoError, UnavailableError
from parlando.store import song_keys as names
from parlando.store.connection import BROKEN, Redis, clock, retried
from parlando.store.heartbeat import alive
from parlando.store.keys import RECOGNIZERS
from parlando.store.work_queue import Delivered, WorkQueue, group_is_missing
from parlando.tasks import end

RECOGNIZER: Final = "song-recognizer"
"""The kind of the recognizers in their heartbeats."""
MAX_WAITING: Final = 64
"""Maximum requests that wait or are being processed; further ones are refused."""
LEASE_S: Final = 15.0
POLL_S: Final = (0.02, 0.2)
"""Least and greatest time between two looks for a reply."""
BLOCK_MS: Final = 2000
RETRY_S: Final = 0.5

Kind = Literal["register", "recognise"]

log = structlog.get_logger(part="songs")


class SongReplyError(ParlandoError):
    """Raised when a recognizer has refused a request; with the code and message of its reply."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class SongRequest:
    """A request. `fields`: its parameters. `timeout_s`: seconds after which its reply is not needed."""

    id: str
    kind: Kind
    fields: Mapping[str, str]
    timeout_s: float


class SongRequests:
    """A gateway's side. `timeout_s`: maximum wait for a reply."""

    def __init__(self, redis: Redis, *, timeout_s: float) -> None:
        self._redis = redis
        self._timeout_s = timeout_s

    async def check(self) -> None:
        """Check that a request can be sent.

        Raises `NoRecognizerError` if none is running, `AtCapacityError` if too many requests wait.
        """
        if not any(report["kind"] == RECOGNIZER for report in await alive(self._redis)):
            raise NoRecognizerError("No song-recognizer is running; start one, then send the request again")
        if int(await retried(lambda: self._redis.xlen(names.REQUESTS))) >= MAX_WAITING:
            raise AtCapacityError(
                f"{MAX_WAITING} requests about songs are waiting; try again in some seconds"
            )

    async def ask(self, kind: Kind, fields: Mapping[str, str]) -> dict[str, Any]:
        """Send a request, and wait for its reply.

        Raises
        ------
        SongReplyError
            with the reason of the recognizer.
        NoRecognizerError
            if no reply came in time.

        """
        name = secrets.token_hex(15)
        body = {
            "id": name,
            "kind": kind,
            "fields": orjson.dumps(dict(fields)),
            "timeout_s": str(self._timeout_s),
        }
        until = time.monotonic() + self._timeout_s
        await retried(lambda: self._redis.xadd(names.REQUESTS, body, maxlen=4 * MAX_WAITING))  # type: ignore[arg-type]
        key, pause_s = names.reply(name), POLL_S[0]
        while time.monotonic() < until:
            found: Any = await retried(lambda: self._redis.get(key))
            if found is not None:
                reply: dict[str, Any] = orjson.loads(found)
                if error := reply.get("error"):
                    raise SongReplyError(error["code"], error["message"])
                return reply
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.3, POLL_S[1])
        raise NoRecognizerError(
            f"The song-recognizer did not reply in {self._timeout_s:.0f} s; try again later"
        )


class SongRequestPool:
    """A recognizer's side: up to `concurrency` requests at a time; see `worker.service.Pool`.

    `process` returns the reply. A `ParlandoError` of it becomes the reply, any other exception an internal
    error. A request that was interrupted is processed again.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        worker: str,
        concurrency: int,
        process: Callable[[SongRequest], Awaitable[dict[str, Any]]],
        lease_s: float = LEASE_S,
    ) -> None:
        self._redis = redis
        self._concurrency = concurrency
        self._process = process
        self._lease_s = lease_s
        self._queue = WorkQueue(
            redis, lambda _: names.REQUESTS, RECOGNIZERS, worker=worker, partitions=1, lease_s=lease_s
        )
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    @property
    def count(self) -> int:
        """Number of requests being processed."""
        return len(self._running)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """The loops that take requests and renew their leases."""
        return [self._repeat(step) for step in (self._take, self._take_over, self._renew)]

    async def hand_back(self) -> None:
        """Interrupt what is being processed, for other workers."""
        entries = [(0, entry) for entry in self._running]
        await end(*self._running.values())
        await self._queue.release(entries)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except ResponseError as error:
                if not group_is_missing(error):
                    log.error("requests.refused", error=str(error))
                    await asyncio.sleep(RETRY_S)
                else:
                    await self._ensure_group()
            except (*BROKEN, UnavailableError) as error:
                log.warning("redis.unreachable", error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("requests.failed")
                await asyncio.sleep(RETRY_S)

    async def _ensure_group(self) -> None:
        try:
            await self._queue.ensure_groups()
        except (*BROKEN, UnavailableError, ResponseError) as error:
            log.warning("redis.unreachable", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _take(self) -> None:
        free = self._concurrency - self.count
        if free <= 0:
            self._ended.clear()
            await self._ended.wait()
            return
        for delivered in await self._queue.take_new(block_ms=BLOCK_MS, limit=free):
            self._start(delivered)

    async def _take_over(self) -> None:
        await asyncio.sleep(self._lease_s / 3)
        held = [(0, entry) for entry in self._running]
        for delivered in await self._queue.take_over(self._concurrency - self.count, held):
            self._start(delivered)

    async def _renew(self) -> None:
        await asyncio.sleep(self._lease_s / 4)
        await self._queue.renew([(0, entry) for entry in self._running])

    def _start(self, delivered: Delivered) -> None:
        self._running[delivered.entry] = task = asyncio.create_task(self._reply(delivered))

        def forget(_: "asyncio.Task[None]", entry: str = delivered.entry) -> None:
            self._running.pop(entry, None)
            self._ended.set()

        task.add_done_callback(forget)

    async def _reply(self, delivered: Delivered) -> None:
        try:
            request = _request(delivered)
            if request is not None and (left_s := await self._left_s(delivered, request)) > 0:
                reply = await self._processed(request, left_s)
                lasts_s = max(1, round(request.timeout_s))
                await retried(
                    lambda: self._redis.set(names.reply(request.id), orjson.dumps(reply), ex=lasts_s)
                )
            await self._remove(delivered)
        except UnavailableError as error:  # the request is processed again after its lease
            log.warning("redis.unreachable", error=error.message)

    async def _left_s(self, delivered: Delivered, request: SongRequest) -> float:
        """Seconds until the reply is not needed any more, by the clock of Redis."""
        seconds, micros = await retried(lambda: clock(self._redis, names.REQUESTS))
        added_ms = int(delivered.entry.partition("-")[0])
        return request.timeout_s - (seconds + micros / 1e6 - added_ms / 1000)

    async def _remove(self, delivered: Delivered) -> None:
        async def remove() -> None:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(names.REQUESTS, RECOGNIZERS, delivered.entry)
                pipe.xdel(names.REQUESTS, delivered.entry)
                await pipe.execute()

        await retried(remove)

    async def _processed(self, request: SongRequest, within_s: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(within_s):
                return await self._process(request)
        except ParlandoError as error:
            return {"error": {"code": error.code, "message": error.message}}
        except Exception:
            log.exception("request.failed", kind=request.kind)
            return {"error": {"code": "internal", "message": "The request failed; the log has the reason"}}


def _request(delivered: Delivered) -> SongRequest | None:
    """The request of an entry; None if it is unreadable."""
    try:
        fields = {name.decode(): value for name, value in delivered.fields.items()}
        kind: Any = fields["kind"].decode()
        parameters = orjson.loads(fields["fields"])
        return SongRequest(fields["id"].decode(), kind, parameters, float(fields["timeout_s"]))
    except (KeyError, ValueError):
        log.error("request.unreadable", entry=delivered.entry)
        return None
