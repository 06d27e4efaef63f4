"""Shares of the places for live sessions among owners, when more sessions are wanted than fit.

A place that no other owner wants is lent. An owner that is refused below its share gets the next free places,
and after `SHARE_RECLAIM_S` places that others hold beyond theirs.

An opening waits for a place for a short time: places become free, and transcribers that measure what their
sessions take raise their capacity every second.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import structlog

from api_gateway import metrics
from api_gateway.coalesced import CoalescedRead
from parlando.domain.commands import EndError
from parlando.domain.shares import Standing
from parlando.errors import AtCapacityError
from parlando.store.live_places import Held, LivePlaces, Wanted
from parlando.store.pools import Place

WAITS_S: Final = 8.0
"""Seconds after an opening has been refused for good in which its owner is expected to try again; clients are
asked to do so after 5."""
RETRY_S: Final = 0.3  # between two attempts of an opening that waits
MAX_WAITING: Final = 200
"""Openings of a gateway that wait at a time, half of them at most of one owner; more are refused at once."""
FRESH_S: Final = 0.2  # how long what is known about a pool is cached
READ_TIMEOUT_S: Final = 5.0
RECLAIMED: Final = EndError(
    code="at_capacity",
    message="The place of this session was lent by another owner, who needs it now; open a new session in a "
    "few seconds and continue after the audio that was acknowledged",
    retryable=True,
)

log = structlog.get_logger()
T = TypeVar("T")
Read = tuple[Held, Wanted]
Refusal = tuple[str, bytes]  # the pool, and the entry in its refused openings


class FairShares:
    """Limits each owner to its share while others wait.

    `reclaim_s`: see `SHARE_RECLAIM_S`; 0 for never. `wait_s`: see `PLACE_WAIT_S`.
    """

    def __init__(self, places: LivePlaces, *, reclaim_s: float, wait_s: float = 0.0) -> None:
        self._places = places
        self._reclaim_s = reclaim_s
        self._wait_s = wait_s
        self._waits_s = WAITS_S + wait_s
        self._waiting: Counter[str] = Counter()
        self._reads: dict[str, CoalescedRead[Read]] = {}

    async def opened(
        self,
        owner: str,
        find: Callable[[], Awaitable[Sequence[Place]]],
        opening: Callable[[Sequence[Place]], Awaitable[T]],
        *,
        wait: bool = False,
    ) -> T:
        """What `opening` returns: it opens a session in the first of the places with room for the owner.

        `find`: the places, as they are now. `wait`: whether to wait up to `wait_s` for room.

        Raises
        ------
        AtCapacityError
            if all places are taken, or the owner has its share and others wait.
        UnavailableError
            and what `find` and `opening` raise.

        """
        places = await find()
        try:
            return await self._opened(owner, places, opening)
        except AtCapacityError:
            refusal = await self._refused(owner, places[0])
            if not wait or not self._may_wait(owner):
                raise
        self._waiting[owner] += 1
        try:
            return await self._opened_later(owner, find, opening, refusal)
        finally:
            self._waiting -= Counter([owner])

    def _may_wait(self, owner: str) -> bool:
        return (
            self._wait_s > 0
            and self._waiting.total() < MAX_WAITING
            and self._waiting[owner] < MAX_WAITING // 2
        )

    async def _opened_later(
        self,
        owner: str,
        find: Callable[[], Awaitable[Sequence[Place]]],
        opening: Callable[[Sequence[Place]], Awaitable[T]],
        refusal: Refusal,
    ) -> T:
        """As `opened`, after a refusal; it is remembered only if the opening is refused for good."""
        deadline = time.monotonic() + self._wait_s
        try:
            while True:
                await asyncio.sleep(RETRY_S)
                try:
                    return await self._opened(owner, await find(), opening, refusal)
                except AtCapacityError:
                    if time.monotonic() + RETRY_S > deadline:
                        raise
        except AtCapacityError:
            raise
        except BaseException:  # the client has left, or asks for what can't be done any more
            await self._places.grant(*refusal)
            raise

    async def _opened(
        self,
        owner: str,
        places: Sequence[Place],
        opening: Callable[[Sequence[Place]], Awaitable[T]],
        refusal: Refusal | None = None,
    ) -> T:
        """Open a session; forgets its own `refusal`, or else the owner's oldest one."""
        limited = [await self._limited(owner, place) for place in places]
        result = await opening([place for place, _ in limited])
        pool, (first, wanted) = places[0].pool, limited[0]
        if refusal is None and (entries := wanted.entries.get(owner, ())):
            refusal = pool, entries[0]
        if refusal is not None:
            await self._places.grant(*refusal)
        if refusal is not None or len(first.open) > 1:  # a partition doesn't count the sessions of the others
            for place in places:
                self._reads.pop(place.pool, None)
        return result

    async def _limited(self, owner: str, place: Place) -> tuple[Place, Wanted]:
        if place.limit < 0:
            return place, Wanted()
        held, wanted = await self._read(place.pool)
        standing = Standing(place.limit, held.counts(), wanted.recent(self._waits_s))
        limited = replace(
            place,
            open=tuple(sum(map(len, owners.values())) for owners in held.partitions),
            own_limit=standing.limit(owner) if standing.wanted.keys() - {owner} else -1,
            own=tuple(len(owners.get(owner, ())) for owners in held.partitions),
        )
        return limited, wanted

    async def _read(self, pool: str) -> Read:
        read = self._reads.get(pool)
        if read is None:

            async def both() -> Read:
                return await self._places.held(pool), await self._places.wanted(pool)

            read = self._reads[pool] = CoalescedRead(both, fresh_s=FRESH_S, within_s=READ_TIMEOUT_S)
        return await read.get()

    async def _refused(self, owner: str, place: Place) -> Refusal:
        """Remember the refusal; take lent places back for owners that have been waiting for long enough."""
        refusal = place.pool, await self._places.refuse(place.pool, owner)
        self._reads.pop(place.pool, None)
        if self._reclaim_s:
            await self._reclaim(place)
        return refusal

    async def _reclaim(self, place: Place) -> None:
        held, wanted = await self._read(place.pool)
        standing = Standing(place.limit, held.counts(), wanted.recent(self._waits_s))
        owed = {
            name: count
            for name, count in standing.owed().items()
            if wanted.waiting_s(name, self._waits_s) >= self._reclaim_s
        }
        needed = sum(owed.values()) - max(0, standing.free)
        if needed <= 0 or not await self._places.lock(place.pool):
            return
        for lender, count in sorted(standing.lent().items(), key=lambda each: -each[1]):
            taken = await self._places.reclaim(held.of(lender), min(count, needed), RECLAIMED)
            if taken:
                log.info("places.reclaimed", pool=place.pool, owner=lender, sessions=taken)
                metrics.RECLAIMED.inc(taken)
            needed -= min(count, needed)
            if needed <= 0:
                return
