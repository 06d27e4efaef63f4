"""Deletes everything of an owner, and counts what it deleted and what is left."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from api_gateway.deliveries.archive import explained
from api_gateway.owners.inventory import Inventory
from api_gateway.owners.parts import Parts
from parlando.errors import JobNotFoundError
from parlando.store.limit_keys import owner_id
from parlando.store.owner_data import Held

CLOSE_S: Final = 10.0
"""Seconds within which workers close the live sessions; after that their data is deleted all the same."""
POLL_S: Final = 0.05
PASSES: Final = 10
"""A worker, or a delivery that is under way, may write once more after a pass: a further one deletes that."""
PAUSE_S: Final = 0.5

log = structlog.get_logger(part="owners")


@dataclass(frozen=True, slots=True)
class Deleted:
    """`deleted`: numbers by kind. `remaining`: what was found in Redis and the archive afterwards."""

    deleted: dict[str, int]
    remaining: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not any(self.remaining.values())


def _some(counts: Mapping[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in counts.items() if count}


class Deletion:
    """Deletes the data of owners. Safe to repeat, and after an interruption."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._inventory = Inventory(parts)

    async def run(self, owner: str) -> Deleted:
        """Delete everything of an owner (16 digits, "" without keys).

        Its stored keys first, so that nothing new comes; live sessions are ended, jobs cancelled. Raises
        `UnavailableError`, `StorageError`: what was deleted until then is deleted.
        """
        counts: Counter[str] = Counter()
        await self._keys(owner, counts)
        for attempt in range(PASSES):
            if not await self._pass(owner, counts):
                break
            if attempt:
                await asyncio.sleep(PAUSE_S)
        await self._parts.retentions.remove(owner)
        await self._parts.limits.remove(owner_id(owner))
        remaining = await self._inventory.of(owner)
        log.info("owner.deleted", owner=owner or "none", deleted=_some(counts), remaining=_some(remaining))
        return Deleted(_some(counts), _some(remaining))

    async def _keys(self, owner: str, counts: Counter[str]) -> None:
        ring = self._parts.ring
        found = [key.id for key in (await ring.keys.all()).values() if key.owner[:16] == owner]
        for key_id in found:
            await ring.keys.revoke(key_id)
        await ring.refresh()
        await ring.keys.remove(found)
        await ring.refresh()
        counts["keys"] += len(found)

    async def _pass(self, owner: str, counts: Counter[str]) -> int:
        """One look at everything. Returns how much was found."""
        before = counts.total()
        ids = await self._sessions(owner, counts)
        ids |= await self._jobs(owner, counts)
        await self._uploads(owner, counts)
        counts["deliveries"] += await self._parts.queues.erase(lambda each: each.owner[:16] == owner)
        with explained():
            counts["archived"] += await self._parts.archive.delete_owned(owner)
        counts += await self._parts.data.erase_named(owner)
        counts["usage_records"] += await self._parts.data.erase_usage(owner)
        counts["queue_entries"] += await self._parts.data.erase_traces(owner, ids)
        return counts.total() - before

    async def _sessions(self, owner: str, counts: Counter[str]) -> set[str]:
        found = {held.id: held async for held in self._parts.data.sessions(owner)}
        live = [held.id for held in found.values() if held.state != "closed"]
        for sid in live:
            await self._parts.data.end_session(sid)
        counts["live_sessions_ended"] += len(live)
        await self._closed(live)
        for sid in found:
            await self._parts.history.forget(sid)
        counts["sessions"] += len(found)
        return set(found)

    async def _closed(self, live: list[str]) -> None:
        until = time.monotonic() + CLOSE_S
        waiting = live
        while waiting and time.monotonic() < until:
            waiting = [sid for sid in waiting if not await self._parts.data.closed(sid)]
            if waiting:
                await asyncio.sleep(POLL_S)

    async def _jobs(self, owner: str, counts: Counter[str]) -> set[str]:
        found = {held.id: held async for held in self._parts.data.jobs(owner)}
        for held in found.values():
            if await delete_job(self._parts, held):
                counts["jobs_cancelled"] += 1
        counts["jobs"] += len(found)
        return set(found)

    async def _uploads(self, owner: str, counts: Counter[str]) -> None:
        found = {held.id: held async for held in self._parts.data.uploads(owner)}
        for held in found.values():
            await delete_upload(self._parts, held)
        counts["uploads"] += len(found)


async def delete_job(parts: Parts, held: Held) -> bool:
    """Delete a job with its audio and results. Returns whether it had to be cancelled."""
    try:
        record = await parts.jobs.record(held.id)
        if not record.status.ended:
            await parts.jobs.cancel(record)
    except JobNotFoundError:  # it has expired, or was deleted meanwhile
        return False
    await parts.blobs.delete(record.source.blob)
    await parts.jobs.forget(record)
    return not record.status.ended


async def delete_upload(parts: Parts, held: Held) -> None:
    """Delete an upload, and its file unless a job has it."""
    record = await parts.uploads.of(held.id)
    if record is not None and await parts.uploads.remove(record):
        await parts.blobs.delete(record.upload)
