"""What Redis holds of an owner: found by looking at all keys, so that nothing is missed.

An owner is named by the first 16 digits of its fingerprint, "" on a gateway without keys.
"""

import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from parlando.domain import commands
from parlando.domain.commands import End
from parlando.domain.pools import UNASSIGNED
from parlando.errors import UnavailableError
from parlando.store import keys as names
from parlando.store import upload_keys
from parlando.store.connection import BROKEN, Redis, Scripts, retried
from parlando.store.keys import SessionKeys
from parlando.store.live_places import wanted
from parlando.store.pools import known_pools

BATCH: Final = 500
_NAMED: Final = re.compile(
    r"stt:\{[a-z0-9]+\}:(?P<kind>user|seen|file|notices|user-sessions|usage|known-speakers|job-list|by)"
    r":(?P<owner>[0-9a-f]{16}|)(:.*)?"
)
"""The keys whose names begin with a kind and an owner."""
_OF_LIMITS: Final = re.compile(r"stt:\{limits:(?P<owner>[0-9a-f]{16}|none)\}:.*")
_DAY: Final = re.compile(r"stt:\{[a-z0-9]+\}:usage:\d{4}-\d\d-\d\d")
KINDS: Final = {
    "user": "users",
    "usage": "usage_records",
    "known-speakers": "known_speakers",
}
"""How such keys are counted; the other kinds belong to these or to sessions, jobs and uploads."""


@dataclass(frozen=True, slots=True)
class Held:
    """A session, a job or an upload. `at_ms`: when it began, or (jobs) ended; unix milliseconds.

    `state`: "" for uploads. `owner`: the whole fingerprint.
    """

    id: str
    owner: str
    state: str
    at_ms: int

    @property
    def prefix(self) -> str:
        """The first 16 digits of its owner."""
        return self.owner[:16]


def _named(name: str) -> tuple[str, str] | None:
    """The kind and the owner of a key whose name contains an owner."""
    if found := _NAMED.fullmatch(name):
        return found["kind"], found["owner"]
    if found := _OF_LIMITS.fullmatch(name):
        return "limits", found["owner"].replace("none", "")
    return None


class OwnerData:
    """Finds and erases the data of owners. Every call raises `UnavailableError`."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._partitions = partitions

    async def sessions(self, owner: str | None = None) -> AsyncIterator[Held]:
        """The sessions of an owner, or of all (None). One may come twice."""
        fields = ("key", "state", "opened")
        async for name, found in self._hashes("stt:{*}:session:*", fields):
            held = Held(name, found[0] or "", found[1] or "", int(found[2] or 0))
            if owner is None or held.prefix == owner:
                yield held

    async def jobs(self, owner: str | None = None) -> AsyncIterator[Held]:
        """The jobs of an owner, or of all (None). One may come twice."""
        fields = ("key", "state", "ended", "created")
        async for name, found in self._hashes("stt:{*}:job:*", fields):
            held = Held(name, found[0] or "", found[1] or "", int(found[2] or found[3] or 0))
            if owner is None or held.prefix == owner:
                yield held

    async def uploads(self, owner: str | None = None) -> AsyncIterator[Held]:
        """The unfinished uploads of an owner, or of all (None), and those whose file a job has."""
        async for name, found in self._hashes(f"{upload_keys.UPLOADS}*", ("owner", "created")):
            held = Held(name, found[0] or "", "", int(found[1] or 0))
            if owner is None or held.prefix == owner:
                yield held

    async def _hashes(
        self, match: str, fields: tuple[str, ...]
    ) -> AsyncIterator[tuple[str, list[str | None]]]:
        """The ids and fields of the hashes whose names match; the id is behind the third colon."""
        async for page in self._scan(match):

            async def read(page: list[str] = page) -> list[Any]:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for name in page:
                        pipe.hmget(name, fields)
                    answers: list[Any] = await pipe.execute()
                return answers

            for name, found in zip(page, await retried(read), strict=True):
                if found[0] is not None:  # it has not expired meanwhile
                    values = [None if value is None else value.decode() for value in found]
                    yield name.split(":", 3)[3], values

    async def _scan(self, match: str) -> AsyncIterator[list[str]]:
        page: list[str] = []
        try:
            async for name in self._redis.scan_iter(match=match, count=1000):
                page.append(name.decode())
                if len(page) == BATCH:
                    yield page
                    page = []
        except BROKEN as error:
            raise UnavailableError(f"Redis can't be reached: {error}") from error
        if page:
            yield page

    async def named(self, owner: str | None = None) -> AsyncIterator[tuple[str, str, str]]:
        """The keys whose names contain an owner: their names, kinds and owners."""
        async for page in self._scan("stt:*"):
            for name in page:
                found = _named(name)
                if found and (owner is None or found[1] == owner):
                    yield name, *found

    # --- erasing ------------------------------------------------------------------------------------

    async def end_session(self, sid: str) -> None:
        """End a live session: its connections are fenced, and its unread audio is deleted."""
        keys = SessionKeys.of(sid, self._partitions)
        command = commands.encode(End(reason="deleted", discard=True))
        await self._scripts.run("evict", [keys.session, keys.pcm, keys.raw], [command])

    async def closed(self, sid: str) -> bool:
        """Whether a session has closed, or is gone."""
        name = SessionKeys.of(sid, self._partitions).session
        return await retried(lambda: self._redis.hget(name, "state")) in (None, b"closed")

    async def erase_named(self, owner: str) -> Counter[str]:
        """Delete the keys whose names contain an owner. Returns their numbers, known speakers one by one."""
        counts: Counter[str] = Counter()
        async for name, kind, _ in self.named(owner):
            if kind == "known-speakers":
                counts[KINDS[kind]] += int(await retried(lambda name=name: self._redis.hlen(name)))  # type: ignore[misc]
            elif kind in KINDS:
                counts[KINDS[kind]] += 1
            else:
                counts["lists"] += 1
            await retried(lambda name=name: self._redis.delete(name))  # type: ignore[misc]
        return counts

    async def erase_traces(self, owner: str, ids: set[str]) -> int:
        """Delete what queues, the feed and the scheduling of jobs know of an owner and of `ids`."""
        count = 0
        pools = [pool["pool"] for pool in await known_pools(self._redis)]
        pools.append(UNASSIGNED)

        def concerns(fields: Mapping[bytes, bytes]) -> bool:
            key = fields.get(b"key")
            if key is not None and key.decode()[:16] == owner:
                return True
            return any(fields.get(name, b"").decode() in ids for name in (b"sid", b"job", b"id"))

        for partition in range(self._partitions):
            streams = [names.sessions(partition, pool) for pool in pools]
            streams += [each(partition) for each in (names.intake, names.songs, names.jobs, names.tasks)]
            for stream in (*streams, names.feed(partition)):
                count += await self._erase_entries(stream, concerns)
            shares = [names.shares(partition, pool) for pool in pools]
            count += int(await self._scripts.run("forget_owner", [names.flows(partition), *shares], [owner]))
            count += await self._erase_members(names.users(partition), f"{owner}:")
        for pool in pools:
            # A member begins with the whole fingerprint; without keys it begins with the colon.
            await self._erase_members(wanted(pool), f"{owner}*:" if owner else ":")
        return count

    async def days_of_usage(self, owner: str | None = None) -> AsyncIterator[tuple[str, str, list[bytes]]]:
        """The days on which an owner, or each (None), has usage: key, owner, its fields of the hash."""
        async for page in self._scan("stt:*:usage:*"):
            for name in page:
                if _DAY.fullmatch(name):
                    fields: Any = await retried(lambda name=name: self._redis.hkeys(name))  # type: ignore[misc]
                    found: defaultdict[str, list[bytes]] = defaultdict(list)
                    for field in fields:
                        found[field.decode().partition(":")[0]].append(field)
                    for who in found if owner is None else found.keys() & {owner}:
                        yield name, who, found[who]

    async def erase_usage(self, owner: str) -> int:
        """Delete the daily usage of an owner. Returns the number of hashes that had some."""
        count = 0
        async for name, _, fields in self.days_of_usage(owner):
            await retried(lambda name=name, some=fields: self._redis.hdel(name, *some))  # type: ignore[misc]
            count += 1
        return count

    async def _erase_entries(self, stream: str, concerns: Callable[[Mapping[bytes, bytes]], bool]) -> int:
        count, start = 0, "-"
        while True:
            page: Any = await retried(lambda start=start: self._redis.xrange(stream, start, count=BATCH))  # type: ignore[misc]
            entries = [name for name, fields in page if concerns(fields)]
            if entries:
                for group in await self._groups(stream):
                    await retried(lambda group=group, some=entries: self._redis.xack(stream, group, *some))  # type: ignore[misc]
                count += int(await retried(lambda some=entries: self._redis.xdel(stream, *some)))  # type: ignore[misc]
            if len(page) < BATCH:
                return count
            start = f"({page[-1][0].decode()}"

    async def _groups(self, stream: str) -> list[bytes]:
        try:
            found: Any = await retried(lambda: self._redis.xinfo_groups(stream))
        except ResponseError:  # the stream has expired meanwhile
            return []
        return [group["name"] for group in found]

    async def _erase_members(self, name: str, prefix: str) -> int:
        count = 0
        try:
            async for member, _ in self._redis.zscan_iter(name, match=f"{prefix}*", count=1000):
                count += int(await self._redis.zrem(name, member))
        except BROKEN as error:
            raise UnavailableError(f"Redis can't be reached: {error}") from error
        return count

    async def trim_lists(self, cutoff: Callable[[str], int | None]) -> None:
        """Take old sessions out of the lists of users, and forget users without newer audio.

        `cutoff`: for the first 16 digits of an owner the unix milliseconds before which data is deleted.
        """
        async for name, kind, owner in self.named():
            before_ms = cutoff(owner)
            if before_ms is None:
                continue
            if kind == "user-sessions":
                await retried(
                    lambda name=name, at=before_ms: self._redis.zremrangebyscore(name, "-inf", f"({at}")  # type: ignore[misc]
                )
            elif kind == "user":
                last: Any = await retried(lambda name=name: self._redis.hget(name, "last"))  # type: ignore[misc]
                if last is not None and int(last) < before_ms:
                    await retried(lambda name=name: self._redis.delete(name))  # type: ignore[misc]
