"""Read access to sessions: records, kept events, lists."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from parlando.domain.config import SessionConfig
from parlando.domain.corrections import CORRECTION, latest
from parlando.domain.pools import UNASSIGNED
from parlando.domain.wallclock import Burst
from parlando.errors import SessionNotFoundError
from parlando.store import heartbeat
from parlando.store import keys as names
from parlando.store.connection import Redis, clock, of_all_partitions, retried
from parlando.store.keys import SessionKeys
from parlando.store.pools import known_pools

PAGE: Final = 500  # events per read
LOOKED_AT: Final = 500
"""Number of newest sessions per pool and partition that are searched for those of a key."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The public fields of a session's hash. Audio lengths are in samples."""

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
    events_epoch: int = 0
    """Identifies the numbering of the events: when the session was opened, unix milliseconds."""
    pool: str = ""
    """The pool whose transcribers decode it."""
    later_life: bool = False
    """Whether the session was reopened: an earlier one had this id, or Redis had lost it."""
    speaker_names: dict[str, str] = field(default_factory=dict)
    """The names that were given to its speakers, by their labels."""

    @classmethod
    def of(cls, sid: str, found: dict[bytes, bytes]) -> "SessionRecord":
        """Decode a session's hash."""
        h = {name.decode(): value for name, value in found.items()}
        return cls(
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
            events_epoch=int(h.get("events_epoch", 0)),
            pool=h.get("pool", b"").decode(),
            later_life="later_life" in h,
            speaker_names=orjson.loads(h.get("speaker_names", b"{}")),
        )

    @property
    def lag(self) -> int:
        """Samples received but not decoded; 0 for an owned session without an open segment."""
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

    def channel(self, sid: str) -> str:
        """The channel of the events of a session or job."""
        return self.keys(sid).events

    async def config(self, sid: str) -> SessionConfig:
        """The config of session `sid`. Raises `SessionNotFoundError`."""
        key = self.keys(sid).session
        found: Any = await retried(lambda: self._redis.hget(key, "config"))
        if found is None:
            raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
        return SessionConfig.model_validate_json(found)

    async def record(self, sid: str) -> SessionRecord:
        """The record of session `sid`. Raises `SessionNotFoundError` if it does not exist or has expired."""
        key = self.keys(sid).session
        found: Any = await retried(lambda: self._redis.hgetall(key))
        if not found:
            raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
        return SessionRecord.of(sid, found)

    async def events(self, sid: str, *, after: int, count: int = PAGE) -> list[bytes]:
        """Up to `count` kept events after seq `after`, oldest first, each as JSON."""
        return [event for _, event in await self._page(self.keys(sid).events, after, count)]

    async def event(self, sid: str, seq: int) -> bytes | None:
        """The kept event with number `seq`, as JSON; None if it does not exist (any more)."""
        key, place = self.keys(sid).events, f"{seq}-0"
        found: Any = await retried(lambda: self._redis.xrange(key, min=place, max=place))
        return found[0][1][b"e"] if found else None

    async def all_events(self, sid: str) -> AsyncIterator[bytes]:
        """Yield all kept events of a session."""
        after, key = 0, self.keys(sid).events
        while page := await self._page(key, after, PAGE):
            for seq, event in page:
                yield event
                after = seq

    async def corrections(self, sid: str) -> list[dict[str, Any]]:
        """The data of all corrections of a session, in their order."""
        found: list[dict[str, Any]] = []
        after, key = 0, self.keys(sid).annotations.stream
        while page := await self._page(key, after, PAGE, "a"):
            notes = [orjson.loads(note) for _, note in page if CORRECTION.encode() in note]
            found += [note["data"] for note in notes if (note["kind"], note["by"]) == (CORRECTION, "owner")]
            after = page[-1][0]
        return found

    async def corrected(self, sid: str) -> dict[int, str]:
        """Segment → its correction."""
        return latest(await self.corrections(sid))

    async def _page(self, key: str, after: int, count: int, name: str = "e") -> list[tuple[int, bytes]]:
        """Up to `count` entries after number `after`, oldest first, each with its number; there may be gaps.

        `name`: the field of an entry that has its JSON.
        """
        entries: Any = await retried(lambda: self._redis.xrange(key, min=f"({after}-0", count=count))
        return [(int(identifier.partition(b"-")[0]), fields[name.encode()]) for identifier, fields in entries]

    async def arrivals(self, sid: str) -> list[Burst]:
        """The arrival times of a session's audio; empty unless it was sent as HTTP audio."""
        key = self.keys(sid).arrivals
        found: Any = await retried(lambda: self._redis.lrange(key, 0, -1))
        return [Burst(*map(int, entry.decode().split(":"))) for entry in found]

    async def sessions_of(self, key: str, uid: str) -> list[str]:
        """The ids of a user's recent sessions, newest first. `key`: the API key, hashed."""
        pages = await self._of_all_partitions(
            lambda pipe, p: pipe.zrange(names.user_sessions(p, key, uid), 0, -1, withscores=True)
        )
        found = [(opened, sid.decode()) for page in pages for sid, opened in page]
        return [sid for _, sid in sorted(found, reverse=True)]

    async def _of_all_partitions(self, ask: Callable[[Any, int], Any]) -> list[Any]:
        return await of_all_partitions(self._redis, self._partitions, ask)

    async def unlist(self, key: str, uid: str, sid: str) -> None:
        """Remove an expired session from its user's list."""
        name = names.user_sessions(self.keys(sid).partition, key, uid)
        await retried(lambda: self._redis.zrem(name, sid))

    async def live(self, key: str, limit: int = 50) -> list[SessionRecord]:
        """Up to `limit` sessions of an API key (hashed) that have not closed, newest first."""
        entries: list[tuple[bytes, Any]] = []
        for pool in [*(known["pool"] for known in await self.pools()), UNASSIGNED]:
            pages = await self._of_all_partitions(
                lambda pipe, p, pool=pool: pipe.xrevrange(names.sessions(p, pool), count=LOOKED_AT)  # type: ignore[misc]
            )
            entries += (entry for page in pages for entry in page)
        entries.sort(key=_queued_at, reverse=True)
        sids = [fields[b"sid"].decode() for _, fields in entries if fields.get(b"key") == key.encode()][
            :limit
        ]

        async def hashes() -> list[dict[bytes, bytes]]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for sid in sids:
                    pipe.hgetall(self.keys(sid).session)
                answers: list[dict[bytes, bytes]] = await pipe.execute()
            return answers

        found = await retried(hashes)
        records = [SessionRecord.of(sid, each) for sid, each in zip(sids, found, strict=True) if each]
        return sorted(records, key=lambda record: record.opened_ms, reverse=True)

    async def active_users(self, within_s: float, key: str | None = None) -> int:
        """Number of users of a key (hashed), or of all keys, with audio in the last `within_s` seconds."""
        seconds, _ = await retried(lambda: clock(self._redis, names.users(0)))
        since = (seconds - within_s) * 1000
        pages = await self._of_all_partitions(
            lambda pipe, p: pipe.zrangebyscore(names.users(p), since, "+inf")
        )
        users = [user.decode() for page in pages for user in page]
        return sum(key is None or user.startswith(f"{key[:16]}:") for user in users)

    async def forget(self, sid: str) -> None:
        """Delete all data of a session; a worker that owns it loses its claim."""
        keys = self.keys(sid)
        await retried(lambda: self._redis.delete(keys.session, *keys.beside_hash))

    async def keep(self, sid: str, seconds: int) -> None:
        """Set the remaining lifetime of an ended session."""
        keys = self.keys(sid)
        for key in (keys.session, keys.events, keys.arrivals, *keys.annotations.beside_hash):
            await retried(lambda key=key: self._redis.expire(key, seconds))  # type: ignore[misc]

    async def workers(self) -> list[dict[str, Any]]:
        """The heartbeats of all live workers."""
        return await heartbeat.alive(self._redis)

    async def pools(self) -> list[dict[str, Any]]:
        """What the known pools can do; see `pools.known_pools`."""
        return await known_pools(self._redis)


def _queued_at(entry: tuple[bytes, Any]) -> tuple[int, int]:
    """A stream entry's id as numbers: milliseconds, and sequence number within the millisecond."""
    milliseconds, _, number = entry[0].partition(b"-")
    return int(milliseconds), int(number)
