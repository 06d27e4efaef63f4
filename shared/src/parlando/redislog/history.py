"""What anyone may read of a session: its record, its kept events, its live channel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from parlando.errors import SessionNotFoundError
from parlando.redislog import heartbeat
from parlando.redislog import keys as names
from parlando.redislog.connection import BROKEN, Redis, clock, retried
from parlando.redislog.keys import SessionKeys
from parlando.redislog.published import Published
from parlando.wallclock import Burst

log = structlog.get_logger(part="history")

PAGE: Final = 500  # events read at once
LOOKED_AT: Final = 500
"""Newest sessions of a partition among which those of a key are looked for."""


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
    opened_ms: int
    config: dict[str, Any]
    open_segment: dict[str, Any] | None
    uid: str

    @property
    def lag(self) -> int:
        """Samples received but not decoded. An owned session in which nobody speaks has none."""
        if self.state == "closed" or (self.owner and self.open_segment is None):
            return 0
        return max(0, self.received - self.decoded)


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
            opened_ms=int(h.get("opened", int(h["created"]) * 1000)),
            config=orjson.loads(h["config"]),
            open_segment=orjson.loads(h["open"]) if "open" in h else None,
            uid=h.get("uid", b"").decode(),
        )

    async def events(self, sid: str, *, after: int, count: int = PAGE) -> list[bytes]:
        """Up to `count` kept events behind seq `after`, oldest first, each as JSON."""
        return [event for _, event in await self._page(self.keys(sid).events, after, count)]

    async def all_events(self, sid: str) -> AsyncIterator[bytes]:
        """Every kept event of a session, page by page."""
        after, key = 0, self.keys(sid).events
        while page := await self._page(key, after, PAGE):
            for seq, event in page:
                yield event
                after = seq

    async def _page(self, key: str, after: int, count: int) -> list[tuple[int, bytes]]:
        """Up to `count` events behind seq `after`, oldest first, each with its seq; seqs may have gaps."""
        entries: Any = await retried(lambda: self._redis.xrange(key, min=f"({after}-0", count=count))
        return [(int(identifier.partition(b"-")[0]), fields[b"e"]) for identifier, fields in entries]

    async def arrivals(self, sid: str) -> list[Burst]:
        """When a session's audio came, if it came in bodies."""
        key = self.keys(sid).arrivals
        found: Any = await retried(lambda: self._redis.lrange(key, 0, -1))
        return [Burst(*map(int, entry.decode().split(":"))) for entry in found]

    async def sessions_of(self, key: str, uid: str) -> list[str]:
        """The ids of a user's sessions of the last days, newest first. `key` is the API key, hashed."""
        found: list[tuple[float, str]] = []
        for partition in range(self._partitions):
            name = names.user_sessions(partition, key, uid)
            page: Any = await retried(
                lambda name=name: self._redis.zrange(name, 0, -1, withscores=True)  # type: ignore[misc]
            )
            found += [(opened, sid.decode()) for sid, opened in page]
        return [sid for _, sid in sorted(found, reverse=True)]

    async def unlist(self, key: str, uid: str, sid: str) -> None:
        """Take a session that has expired off its user's list."""
        name = names.user_sessions(self.keys(sid).partition, key, uid)
        await retried(lambda: self._redis.zrem(name, sid))

    async def live(self, key: str, most: int = 50) -> list[SessionRecord]:
        """Up to `most` sessions of an API key (hashed) that haven't ended, newest first."""
        found: list[SessionRecord] = []
        for partition in range(self._partitions):
            queue = names.sessions(partition)
            entries: Any = await retried(
                lambda queue=queue: self._redis.xrevrange(queue, count=LOOKED_AT)  # type: ignore[misc]
            )
            sids = [fields[b"sid"].decode() for _, fields in entries]
            owners = await retried(lambda sids=sids: self._owners(sids))  # type: ignore[misc]
            for sid, owner in zip(sids, owners, strict=True):
                if owner == key.encode() and len(found) < most:
                    with suppress(SessionNotFoundError):
                        found.append(await self.record(sid))
        return sorted(found, key=lambda record: record.opened_ms, reverse=True)

    async def _owners(self, sids: list[str]) -> list[bytes | None]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for sid in sids:
                pipe.hget(self.keys(sid).session, "key")
            owners: list[bytes | None] = await pipe.execute()
        return owners

    async def usage(self, key: str, month: str) -> tuple[int, int]:
        """Files (or bodies) and milliseconds of audio that a key (hashed) has sent in a month."""
        files = audio_ms = 0
        for partition in range(self._partitions):
            name = names.usage(partition, key, month)
            found: Any = await retried(lambda name=name: self._redis.hmget(name, "files", "audio_ms"))  # type: ignore[misc]
            files += int(found[0] or 0)
            audio_ms += int(found[1] or 0)
        return files, audio_ms

    async def billed_ms(self, month: str) -> int:
        """Milliseconds that a paid engine has billed the whole cluster in a month."""
        return int(await retried(lambda: self._redis.get(names.billed(month))) or 0)

    async def active_users(self, within_s: float, key: str | None = None) -> int:
        """How many users have sent audio lately: those of a key (hashed), or of all keys."""
        count = 0
        for partition in range(self._partitions):
            name = names.users(partition)
            seconds, _ = await retried(lambda name=name: clock(self._redis, name))  # type: ignore[misc]
            since = (seconds - within_s) * 1000
            found: Any = await retried(
                lambda name=name, since=since: self._redis.zrangebyscore(name, since, "+inf")  # type: ignore[misc]
            )
            count += sum(key is None or user.decode().startswith(f"{key[:16]}:") for user in found)
        return count

    async def forget(self, sid: str) -> None:
        """Delete everything that Redis knows of a session; whoever works on it drops it."""
        keys = self.keys(sid)
        doomed = (keys.session, keys.events, keys.pcm, keys.raw, keys.arrivals)
        await retried(lambda: self._redis.delete(*doomed))

    async def keep(self, sid: str, seconds: int) -> None:
        """Have Redis remember an ended session for longer."""
        keys = self.keys(sid)
        for key in (keys.session, keys.events, keys.arrivals):
            await retried(lambda key=key: self._redis.expire(key, seconds))  # type: ignore[misc]

    async def workers(self) -> list[dict[str, Any]]:
        """The reports of all workers that live."""
        return await heartbeat.alive(self._redis)


Listener = Callable[[Published | None], None]


class Channels:
    """One subscription for a whole process; listeners are called in the order of publication.

    A listener gets each message, the same object as the others, or None when the connection was lost and
    messages may have been missed: it then reads the kept ones from the history.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pubsub = redis.pubsub(ignore_subscribe_messages=True)
        self._listeners: dict[str, set[Listener]] = {}
        self._changed = asyncio.Event()
        self._subscribing = asyncio.Lock()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Call `listener` for each message from now on."""
        listeners = self._listeners.setdefault(channel, set())
        listeners.add(listener)
        if len(listeners) == 1:
            async with self._subscribing:
                await retried(lambda: self._pubsub.subscribe(channel))
            self._changed.set()

    async def unsubscribe(self, channel: str, listener: Listener) -> None:
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
                published = Published(message["data"])
                for listener in tuple(self._listeners.get(message["channel"].decode(), ())):
                    listener(published)

    async def _restore(self) -> None:
        while self._listeners:
            await asyncio.sleep(0.2)
            try:
                await self._pubsub.aclose()  # type: ignore[no-untyped-call]
                self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)  # maybe of another node
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
