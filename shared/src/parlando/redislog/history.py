"""What anyone may read of a session: its record, its kept events, its live channel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from parlando.audio import SAMPLE_RATE
from parlando.errors import SessionNotFoundError
from parlando.redislog import heartbeat
from parlando.redislog.connection import BROKEN, Redis, retried
from parlando.redislog.keys import SessionKeys

log = structlog.get_logger(part="history")


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session's hash, as much of it as the outside may see. Counts in samples."""

    sid: str
    state: str
    key: str
    owner: str
    epoch: int
    received: int
    decoded: int
    seq: int
    segments: int
    created: int
    config: dict[str, Any]
    open_segment: dict[str, Any] | None
    uid: str
    ended: int | None
    sample_rate: int


class History:
    """Reads sessions of a keyspace with `partitions`."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._partitions = partitions

    def keys(self, sid: str) -> SessionKeys:
        """The keys of session `sid`."""
        return SessionKeys.of(sid, self._partitions)

    async def record(self, sid: str) -> SessionRecord:
        """Where session `sid` stands. Raises `SessionNotFoundError` if it's unknown or expired."""
        key = self.keys(sid).session
        found: Any = await retried(lambda: self._redis.hgetall(key))
        if not found:
            raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
        h = {name.decode(): value for name, value in found.items()}
        return SessionRecord(
            sid=sid,
            state=h["state"].decode(),
            key=h["key"].decode(),
            owner=h["owner"].decode(),
            epoch=int(h["epoch"]),
            received=int(h["received"]),
            decoded=int(h["decoded"]),
            seq=int(h["seq"]),
            segments=int(h["segments"]),
            created=int(h["created"]),
            config=orjson.loads(h["config"]),
            open_segment=orjson.loads(h["open"]) if "open" in h else None,
            uid=h.get("uid", b"").decode(),
            ended=int(h["ended"]) if "ended" in h else None,
            sample_rate=orjson.loads(h["input"])["sample_rate"] if "input" in h else SAMPLE_RATE,
        )

    async def events(self, sid: str, *, after: int, count: int = 500) -> list[bytes]:
        """Up to `count` kept events behind seq `after`, oldest first, each as JSON."""
        key = self.keys(sid).events
        entries: Any = await retried(lambda: self._redis.xrange(key, min=f"({after}-0", count=count))
        return [fields[b"e"] for _, fields in entries]

    async def all_events(self, sid: str) -> AsyncIterator[bytes]:
        """Every kept event of a session, page by page."""
        after = 0
        while page := await self.events(sid, after=after):
            for event in page:
                yield event
            after += len(page)

    async def workers(self) -> list[dict[str, Any]]:
        """The reports of all workers that live."""
        return await heartbeat.alive(self._redis)


class Channels:
    """One subscription for a whole process; listeners are called in the order of publication.

    A listener gets each message's bytes, or None when the connection was lost and messages may have
    been missed: it then reads the kept ones from the history.
    """

    def __init__(self, redis: Redis) -> None:
        self._pubsub = redis.pubsub(ignore_subscribe_messages=True)
        self._listeners: dict[str, set[Callable[[bytes | None], None]]] = {}
        self._changed = asyncio.Event()
        self._subscribing = asyncio.Lock()

    async def subscribe(self, channel: str, listener: Callable[[bytes | None], None]) -> None:
        """Call `listener` for each message from now on."""
        listeners = self._listeners.setdefault(channel, set())
        listeners.add(listener)
        if len(listeners) == 1:
            async with self._subscribing:
                await retried(lambda: self._pubsub.subscribe(channel))
            self._changed.set()

    async def unsubscribe(self, channel: str, listener: Callable[[bytes | None], None]) -> None:
        """Stop calling `listener`."""
        listeners = self._listeners.get(channel, set())
        listeners.discard(listener)
        if not listeners and self._listeners.pop(channel, None) is not None:
            with suppress(*BROKEN):  # if the connection is gone, so is the subscription
                await self._pubsub.unsubscribe(channel)

    async def run(self) -> None:
        """Deliver messages until cancelled; reconnects and subscribes again by itself."""
        while True:
            if not self._listeners:
                self._changed.clear()
                await self._changed.wait()
            try:
                message = await self._pubsub.get_message(timeout=1.0)
            except (*BROKEN, RuntimeError) as error:
                log.warning("channels.lost", error=str(error))
                await self._restore()
                continue
            if message is not None and message["type"] == "message":
                for listener in tuple(self._listeners.get(message["channel"].decode(), ())):
                    listener(message["data"])

    async def _restore(self) -> None:
        while self._listeners:
            await asyncio.sleep(0.2)
            try:
                await self._pubsub.aclose()  # type: ignore[no-untyped-call]
                await self._pubsub.subscribe(*self._listeners)
            except BROKEN:
                continue
            for listeners in tuple(self._listeners.values()):
                for listener in tuple(listeners):
                    listener(None)
            return

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
