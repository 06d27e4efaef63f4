"""The places of pools that owners hold with open sessions, and those that they were refused recently.

| key                | type       | content                                                              |
|--------------------|------------|----------------------------------------------------------------------|
| stt:wanted:<pool>  | sorted set | refused openings, by time: owner and a random part, for all partitions |
| …:lock             | string     | one gateway takes places of the pool back in the next 2 s            |
"""

import secrets
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from parlando.domain.commands import End, EndError
from parlando.domain.shares import Standing
from parlando.store.connection import Redis, Scripts, clock, of_all_partitions, once, retried
from parlando.store.keys import SessionKeys, sessions
from parlando.store.sessions import SessionWriter

MAX_WANTED: Final = 10_000
"""Refused openings of a pool that are remembered: the latest ones."""
RECLAIM_LOCK_S: Final = 2
GONE_S: Final = 10.0
"""Seconds after which a session whose client hasn't been seen counts as without a client."""


@dataclass(frozen=True, slots=True)
class Held:
    """The open sessions of a pool: for each partition, the session ids of each owner (hashed key)."""

    partitions: tuple[Mapping[str, tuple[str, ...]], ...]

    def counts(self) -> dict[str, int]:
        """The number of open sessions of each owner."""
        total: Counter[str] = Counter()
        for owners in self.partitions:
            total.update({owner: len(sids) for owner, sids in owners.items()})
        return dict(total)

    def of(self, owner: str) -> list[str]:
        """The ids of an owner's open sessions."""
        return [sid for owners in self.partitions for sid in owners.get(owner, ())]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Refused openings. Of each owner: unix times in seconds, the oldest first, and entries in Redis."""

    times: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    entries: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    now: float = 0.0

    def recent(self, within_s: float) -> dict[str, int]:
        """The number of each owner's refused openings in the last `within_s` seconds."""
        since = self.now - within_s
        counts = {owner: sum(at >= since for at in times) for owner, times in self.times.items()}
        return {owner: count for owner, count in counts.items() if count}

    def waiting_s(self, owner: str, within_s: float) -> float:
        """For how long an owner has been trying: since the first refusal without a pause above `within_s`."""
        begin = self.now
        for at in reversed(self.times.get(owner, ())):
            if begin - at > within_s:
                break
            begin = at
        return self.now - begin


def wanted(pool: str) -> str:
    """The name of the key with a pool's refused openings."""
    return f"stt:wanted:{pool}"


class LivePlaces:
    """Reads who holds and who wants places, and takes places back. `kept_s`: how long refusals are kept."""

    def __init__(self, redis: Redis, *, partitions: int, ttl_s: int, kept_s: float) -> None:
        self._redis = redis
        self._partitions = partitions
        self._ttl_s = ttl_s
        self._kept_s = kept_s
        self._scripts = Scripts(redis)

    async def held(self, pool: str) -> Held:
        """The open sessions of a pool. Raises `UnavailableError`."""
        found = await of_all_partitions(
            self._redis, self._partitions, lambda pipe, p: pipe.xrange(sessions(p, pool))
        )
        partitions = []
        for entries in found:
            owners: defaultdict[str, list[str]] = defaultdict(list)
            for _, fields in entries:
                owners[fields.get(b"key", b"").decode()].append(fields[b"sid"].decode())
            partitions.append({owner: tuple(sids) for owner, sids in owners.items()})
        return Held(tuple(partitions))

    async def wanted(self, pool: str) -> Wanted:
        """The refused openings of a pool. Raises `UnavailableError`."""
        seconds, micros = await retried(lambda: clock(self._redis, wanted(pool)))
        now = seconds + micros / 1e6
        found: Any = await retried(
            lambda: self._redis.zrangebyscore(wanted(pool), now - self._kept_s, "+inf", withscores=True)
        )
        times: defaultdict[str, list[float]] = defaultdict(list)
        entries: defaultdict[str, list[bytes]] = defaultdict(list)
        for entry, at in found:
            owner = entry.decode().rpartition(":")[0]
            times[owner].append(at)
            entries[owner].append(entry)
        return Wanted(
            {owner: tuple(each) for owner, each in times.items()},
            {owner: tuple(each) for owner, each in entries.items()},
            now,
        )

    async def refuse(self, pool: str, owner: str) -> bytes:
        """Remember that an opening was refused; returns its entry. Raises `UnavailableError`."""
        name, entry = wanted(pool), f"{owner}:{secrets.token_hex(8)}"
        seconds, micros = await retried(lambda: clock(self._redis, name))
        now = seconds + micros / 1e6

        async def write() -> None:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zadd(name, {entry: now})
                pipe.zremrangebyscore(name, "-inf", now - self._kept_s)
                pipe.zremrangebyrank(name, 0, -MAX_WANTED - 1)
                pipe.expire(name, int(self._kept_s) + 1)
                await pipe.execute()

        await retried(write)
        return entry.encode()

    async def grant(self, pool: str, entry: bytes) -> None:
        """Forget a refused opening, because the owner has got a place. Raises `UnavailableError`."""
        await retried(lambda: self._redis.zrem(wanted(pool), entry))

    async def reclaim(self, sids: list[str], count: int, error: EndError) -> int:
        """End sessions until `count` of `sids` end or have ended; the number that this call has ended.

        Sessions without a client are ended first, then the latest opened ones. What a session has received
        is transcribed. Raises `UnavailableError`.
        """
        fields = ("state", "writer", "opened", "seen", "input")
        keys = [SessionKeys.of(sid, self._partitions) for sid in sids]

        async def read() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for each in keys:
                    pipe.hmget(each.session, fields)
                answers: list[Any] = await pipe.execute()
            return answers

        now, _ = await retried(lambda: clock(self._redis, keys[0].session))
        found = [dict(zip(fields, values, strict=True)) for values in await retried(read)]
        open_ones = [(each, at) for each, at in zip(keys, found, strict=True) if at["state"] == b"open"]
        needed = count - (len(sids) - len(open_ones))
        open_ones.sort(key=lambda pair: (now - int(pair[1]["seen"]) < GONE_S, -int(pair[1]["opened"])))
        for each, at in open_ones[: max(0, needed)]:
            writer = SessionWriter(self._scripts, each, int(at["writer"]), 0, self._ttl_s)
            await writer.command(End(reason="place_reclaimed", error=error))
        return max(0, min(needed, len(open_ones)))

    async def lock(self, pool: str) -> bool:
        """Whether this call is the only one that may take places of a pool back for the next seconds."""
        name = f"{wanted(pool)}:lock"
        return bool(await once(lambda: self._redis.set(name, 1, nx=True, ex=RECLAIM_LOCK_S)))

    async def standing(self, pool: str, places: int, within_s: float) -> tuple[Standing, Held, Wanted]:
        """Who holds and who wants places of a pool that has `places`. Raises `UnavailableError`."""
        held, refused = await self.held(pool), await self.wanted(pool)
        return Standing(places, held.counts(), refused.recent(within_s)), held, refused
