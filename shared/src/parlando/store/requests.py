"""Requests of gateways to workers: a queue of requests, and a key for each reply.

A gateway adds a request to a queue and waits for the reply, which a worker stores under the request's name. A
file that belongs to a request is in the blob store; the gateway deletes it after the reply.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from parlando.errors import AtCapacityError, ParlandoError
from parlando.store.connection import Redis, Scripts, clock, retried
from parlando.store.heartbeat import alive
from parlando.store.usage import Spent
from parlando.store.usage_keys import ANALYSIS, day, usage
from parlando.store.work_queue import Delivered

MAX_WAITING: Final = 64
"""Maximum requests that wait or are being processed; further ones are refused."""
POLL_S: Final = (0.02, 0.2)
"""Least and greatest time between two looks for a reply."""

log = structlog.get_logger(part="requests")


@dataclass(frozen=True, slots=True)
class CountedReply:
    """A reply for which a language model was used, on behalf of `owner` (a fingerprint)."""

    body: dict[str, Any]
    owner: str
    spent: Spent


Process = Callable[["Request"], Awaitable[dict[str, Any] | CountedReply]]
"""Returns the reply to a request. A `ParlandoError` is replied too, any other exception as `internal`.

Only replies of a queue in the slot of `usage_keys.ANALYSIS` can be counted.
"""


class ReplyError(ParlandoError):
    """Raised when a worker has refused a request; with the code and message of its reply."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class RequestQueue:
    """The queue of one kind of worker.

    `worker`: the kind in the heartbeats. `reply`: what the keys of replies begin with. `missing`: the error
    if no worker is running or replies. `about`: what the requests are about, for messages.
    """

    worker: str
    stream: str
    group: str
    reply: str
    missing: type[ParlandoError]
    about: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `fields`: its parameters. `timeout_s`: seconds after which its reply is not needed."""

    id: str
    kind: str
    fields: Mapping[str, str]
    timeout_s: float


class Requests:
    """A gateway's side. `timeout_s`: maximum wait for a reply."""

    def __init__(self, redis: Redis, queue: RequestQueue, *, timeout_s: float) -> None:
        self._redis = redis
        self._queue = queue
        self._timeout_s = timeout_s

    async def check(self) -> None:
        """Check that a request can be sent.

        Raises the queue's `missing` error if no worker is running, `AtCapacityError` if too many requests
        wait.
        """
        queue = self._queue
        if not any(report["kind"] == queue.worker for report in await alive(self._redis)):
            raise queue.missing(f"No {queue.worker} is running; start one, then send the request again")
        if int(await retried(lambda: self._redis.xlen(queue.stream))) >= MAX_WAITING:
            raise AtCapacityError(
                f"{MAX_WAITING} requests about {queue.about} are waiting; try again in some seconds"
            )

    async def ask(self, kind: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """Send a request, and wait for its reply.

        Raises
        ------
        ReplyError
            with the reason of the worker.
        ParlandoError
            the queue's `missing` error, if no reply came in time.

        """
        name, queue = secrets.token_hex(15), self._queue
        body = {
            "id": name,
            "kind": kind,
            "fields": orjson.dumps(dict(fields)),
            "timeout_s": str(self._timeout_s),
        }
        until = time.monotonic() + self._timeout_s
        await retried(lambda: self._redis.xadd(queue.stream, body, maxlen=4 * MAX_WAITING))  # type: ignore[arg-type]
        key, pause_s = queue.reply + name, POLL_S[0]
        while time.monotonic() < until:
            found: Any = await retried(lambda: self._redis.get(key))
            if found is not None:
                reply: dict[str, Any] = orjson.loads(found)
                if error := reply.get("error"):
                    raise ReplyError(error["code"], error["message"])
                return reply
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.3, POLL_S[1])
        raise queue.missing(f"The {queue.worker} did not reply in {self._timeout_s:.0f} s; try again later")


class Responder:
    """A worker's side: processes a delivered request, and stores the reply."""

    def __init__(self, redis: Redis, queue: RequestQueue, process: Process) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._queue = queue
        self._process = process

    async def respond(self, delivered: Delivered) -> bool:
        """Process a request and reply, unless its time is over. Returns True: it is never repeated."""
        request = _request(delivered)
        if request is not None and (left_s := await self._left_s(delivered, request)) > 0:
            reply, lasts_s = await self._processed(request, left_s), max(1, round(request.timeout_s))
            key = self._queue.reply + request.id
            if isinstance(reply, CountedReply):
                await self._scripts.run(
                    "reply",
                    [key, usage(ANALYSIS, day())],
                    [orjson.dumps(reply.body), lasts_s, reply.owner, *reply.spent.arguments],
                )
            else:
                await retried(lambda: self._redis.set(key, orjson.dumps(reply), ex=lasts_s))
        return True

    async def _left_s(self, delivered: Delivered, request: Request) -> float:
        """Seconds until the reply is not needed any more, by the clock of Redis."""
        seconds, micros = await retried(lambda: clock(self._redis, self._queue.stream))
        added_ms = int(delivered.entry.partition("-")[0])
        return request.timeout_s - (seconds + micros / 1e6 - added_ms / 1000)

    async def _processed(self, request: Request, within_s: float) -> dict[str, Any] | CountedReply:
        try:
            async with asyncio.timeout(within_s):
                return await self._process(request)
        except ParlandoError as error:
            return {"error": {"code": error.code, "message": error.message}}
        except Exception:
            log.exception("request.failed", kind=request.kind)
            return {"error": {"code": "internal", "message": "The request failed; the log has the reason"}}


def _request(delivered: Delivered) -> Request | None:
    """The request of an entry; None if it is unreadable."""
    try:
        fields = {name.decode(): value for name, value in delivered.fields.items()}
        parameters = orjson.loads(fields["fields"])
        return Request(fields["id"].decode(), fields["kind"].decode(), parameters, float(fields["timeout_s"]))
    except (KeyError, ValueError):
        log.error("request.unreadable", entry=delivered.entry)
        return None
