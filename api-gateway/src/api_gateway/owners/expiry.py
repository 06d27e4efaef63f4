"""Deletes what has been kept for its time: one gateway looks at everything once an hour."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Final

import structlog
from obstore.exceptions import BaseError

from api_gateway.owners.deletion import delete_job, delete_upload
from api_gateway.owners.parts import Parts
from parlando.domain.retention import OwnerRetention, Retention
from parlando.errors import ParlandoError, StorageError
from parlando.store.deliveries import Delivery

EVERY_S: Final = 3600
DAY_MS: Final = 86_400_000
LOOK_S: Final = 60.0
"""Seconds between two looks whether it is this gateway's turn."""
ENDED: Final = frozenset({"completed", "failed", "cancelled"})

log = structlog.get_logger(part="retention")


class Cutoffs:
    """For each owner the unix milliseconds before which data is deleted; None if it has no limit."""

    def __init__(self, default: Retention, known: dict[str, OwnerRetention], now_ms: int) -> None:
        self._default, self._now_ms = default, now_ms
        self._known = {owner: kept.effective(default) for owner, kept in known.items()}

    @property
    def any(self) -> bool:
        """Whether anybody has a limit."""
        return any(kept != Retention() for kept in (self._default, *self._known.values()))

    def transcripts(self, owner: str) -> int | None:
        """That of transcripts. `owner`: 16 digits."""
        return self._before(self._known.get(owner, self._default).transcript_days)

    def audio(self, owner: str) -> int | None:
        """That of audio."""
        return self._before(self._known.get(owner, self._default).audio_days)

    def _before(self, days: int | None) -> int | None:
        return None if days is None else self._now_ms - days * DAY_MS


class Expiry:
    """Applies the retention times. `default`: those of the cluster. `worker`: this gateway."""

    def __init__(self, parts: Parts, default: Retention, *, worker: str) -> None:
        self._parts = parts
        self._default = default
        self._worker = worker

    async def run(self) -> None:
        """Apply them until cancelled."""
        while True:
            try:
                if await self._parts.retentions.may_sweep(self._worker, for_s=EVERY_S):
                    await self.sweep()
            except (ParlandoError, BaseError, OSError) as error:
                log.warning("retention.not_applied", error=str(error)[:500], effect="tried again later")
            except Exception:
                log.exception("retention.failed")
            await asyncio.sleep(LOOK_S)

    async def sweep(self, now_ms: int | None = None) -> dict[str, int]:
        """Delete what is too old now. Returns the numbers by kind. Raises `ParlandoError`, store's errors."""
        now_ms = round(time.time() * 1000) if now_ms is None else now_ms
        cutoffs = Cutoffs(self._default, await self._parts.retentions.all(), now_ms)
        if not cutoffs.any:
            return {}
        counts: Counter[str] = Counter()
        await self._sessions(cutoffs, counts)
        await self._jobs(cutoffs, counts)
        await self._uploads(cutoffs, counts)
        counts["deliveries"] += await self._parts.queues.erase(lambda each: _is_old(each, cutoffs))
        owners = {*await self._parts.archive.owners(), *await self._parts.retentions.all()}
        for owner in owners:
            before_ms = cutoffs.transcripts(owner)
            if before_ms is not None:
                counts["archived"] += await self._parts.archive.delete_owned(owner, before_ms=before_ms)
        await self._parts.data.trim_lists(cutoffs.transcripts)
        deleted = {kind: count for kind, count in counts.items() if count}
        log.info("retention.applied", deleted=deleted)
        return deleted

    async def _sessions(self, cutoffs: Cutoffs, counts: Counter[str]) -> None:
        async for held in self._parts.data.sessions():
            before_ms = cutoffs.transcripts(held.prefix)
            if before_ms is not None and held.state == "closed" and held.at_ms < before_ms:
                await self._parts.history.forget(held.id)
                counts["sessions"] += 1

    async def _jobs(self, cutoffs: Cutoffs, counts: Counter[str]) -> None:
        async for held in self._parts.data.jobs():
            cutoff = cutoffs.transcripts if held.state in ENDED else cutoffs.audio
            before_ms = cutoff(held.prefix)
            if before_ms is not None and held.at_ms < before_ms:
                await _counted(delete_job(self._parts, held), counts, "jobs")

    async def _uploads(self, cutoffs: Cutoffs, counts: Counter[str]) -> None:
        async for held in self._parts.data.uploads():
            before_ms = cutoffs.audio(held.prefix)
            if before_ms is not None and held.at_ms < before_ms:
                await _counted(delete_upload(self._parts, held), counts, "uploads")


async def _counted(deletion: Awaitable[object], counts: Counter[str], kind: str) -> None:
    """Count a deletion. A file that can't be deleted doesn't end the round."""
    try:
        await deletion
        counts[kind] += 1
    except StorageError as error:
        log.warning("retention.file_not_deleted", kind=kind, error=error.message[:500])
        counts[f"{kind}_failed"] += 1


def _is_old(delivery: Delivery, cutoffs: Cutoffs) -> bool:
    before_ms = cutoffs.transcripts(delivery.owner[:16])
    return before_ms is not None and delivery.queued_ms < before_ms
