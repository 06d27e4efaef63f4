"""Chores that follow a session: queues whose entries are tried until they succeed, by any gateway.

An attempt that fails leaves its entry pending; it's due again when it has been idle for long enough, which
the count of its deliveries tells. So retries survive whoever tries them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from parlando.errors import UnavailableError
from parlando.redislog.connection import BROKEN, Redis, retried
from parlando.redislog.work_queue import ensure_group

PAGE: Final = 100
MOST_PAGES: Final = 20  # of entries that have failed, looked through at a time
AT_ONCE: Final = 8  # attempts

log = structlog.get_logger(part="chores")


@dataclass(frozen=True, slots=True)
class Chore:
    """One entry. `attempt` counts from 1."""

    id: str
    stream: str
    fields: dict[str, bytes]
    attempt: int


class Chores:
    """One queue in all partitions. `delays_s[n]`: seconds between attempt n + 1 and the next; the last
    one goes on for ever. All who work on it may share the name `worker`: an entry's own idle time and
    count of deliveries say whose turn it is.
    """

    def __init__(
        self,
        redis: Redis,
        streams: Callable[[int], str],
        group: str,
        *,
        worker: str,
        partitions: int,
        delays_s: Sequence[float],
    ) -> None:
        self._redis = redis
        self._streams = [streams(partition) for partition in range(partitions)]
        self._group = group
        self._worker = worker
        self._delays_s = delays_s

    async def ensure_groups(self) -> None:
        """Create the consumer groups that don't exist."""
        for stream in self._streams:
            await ensure_group(self._redis, stream, self._group)

    async def work(self, do: Callable[[Chore], Awaitable[None]], *, every_s: float) -> None:
        """Until cancelled: have `do` try what is due, a few at once. `do` calls `done` when it has succeeded.

        Looks every `every_s` seconds, more rarely where there are very many partitions.
        """
        room = asyncio.Semaphore(AT_ONCE)

        async def guarded(chore: Chore) -> None:
            async with room:
                try:
                    await do(chore)
                except (*BROKEN, UnavailableError) as error:
                    log.warning("redis.away", error=str(error))
                except Exception:  # one entry that can't be done must not stop the others
                    log.exception("chore.failed", stream=chore.stream, attempt=chore.attempt)

        while True:
            try:
                await asyncio.gather(*(guarded(chore) for chore in await self.due()))
            except (*BROKEN, UnavailableError) as error:
                log.warning("redis.away", error=str(error))
            await asyncio.sleep(every_s * max(1.0, len(self._streams) / 16))

    async def due(self) -> list[Chore]:
        """Entries that nobody has tried, and those whose time has come again. Doesn't wait."""
        chores = []
        for stream in self._streams:
            try:
                chores += await self._new(stream)
                chores += await self._again(stream)
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                await ensure_group(self._redis, stream, self._group)
        return chores

    async def _new(self, stream: str) -> list[Chore]:
        answer: Any = await self._redis.xreadgroup(self._group, self._worker, {stream: ">"}, count=PAGE)
        return [
            self._chore(stream, identifier, fields, 1)
            for _, entries in answer or []
            for identifier, fields in entries
        ]

    async def _again(self, stream: str) -> list[Chore]:
        chores: list[Chore] = []
        after, idle_ms = "-", int(self._delays_s[0] * 1000)
        for _ in range(MOST_PAGES):
            page: Any = await self._redis.xpending_range(stream, self._group, after, "+", PAGE, idle=idle_ms)
            chores += await self._claimed(stream, page)
            if len(page) < PAGE:
                break
            after = f"({page[-1]['message_id'].decode()}"
        return chores

    async def _claimed(self, stream: str, pending: list[dict[str, Any]]) -> list[Chore]:
        """Those of the pending entries whose time has come."""
        chores: list[Chore] = []
        for entry in pending:
            tried = entry["times_delivered"]
            delay_ms = int(self._delays_s[min(tried, len(self._delays_s)) - 1] * 1000)
            if entry["time_since_delivered"] < delay_ms:
                continue
            claimed: Any = await self._redis.xclaim(
                stream, self._group, self._worker, delay_ms, [entry["message_id"]]
            )
            chores += [self._chore(stream, i, fields, tried + 1) for i, fields in claimed if fields]
        return chores

    @staticmethod
    def _chore(stream: str, identifier: bytes, fields: dict[bytes, bytes], attempt: int) -> Chore:
        named = {name.decode(): value for name, value in fields.items()}
        return Chore(identifier.decode(), stream, named, attempt)

    async def done(self, chore: Chore) -> None:
        """Take it off the queue."""
        await retried(lambda: self._redis.xack(chore.stream, self._group, chore.id))
        await retried(lambda: self._redis.xdel(chore.stream, chore.id))

    async def waiting(self) -> int:
        """How many entries are not done."""
        return sum([int(await retried(lambda s=s: self._redis.xlen(s))) for s in self._streams])  # type: ignore[misc]
