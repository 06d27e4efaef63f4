"""Stores the transcript of a user's session in the archive after its end, and optionally sends it to Omi.

Any gateway may do this. The live path never waits for it: an unreachable archive is retried for a week.
Until then, and while its dead letter exists, Redis keeps the session.
"""

from typing import Any, Final

import orjson
import structlog
from obstore.exceptions import BaseError

from api_gateway import metrics
from api_gateway.deliveries.archive import Archive
from api_gateway.deliveries.queues import bounds
from api_gateway.presenters.omi import speaker_of
from api_gateway.presenters.session import Document, document_of
from api_gateway.settings import GatewaySettings
from parlando.errors import DeliveryFailedError, SessionNotFoundError
from parlando.outbound import Outbound
from parlando.store.connection import Redis
from parlando.store.deliveries import Deliveries, Delivery, Selected
from parlando.store.delivery_worker import DeliveryWorker, Policy
from parlando.store.feed import Feed, FeedEntry
from parlando.store.history import History
from parlando.store.keys import LONG_TTL_S
from parlando.store.slots import DeliveryLane

POLL_INTERVAL_S: Final = 0.5
POLICY: Final = Policy(
    delays_s=(5, 15, 60, 300, 900, 1800, 3600), attempts=1000, age_s=7 * 24 * 3600, attempt_s=120
)
MAX_SEGMENTS: Final = 500  # in one request to Omi

log = structlog.get_logger(part="archive")


class Archiver:
    """Archives sessions that have ended."""

    def __init__(
        self,
        redis: Redis,
        history: History,
        archive: Archive,
        outbound: Outbound,
        settings: GatewaySettings,
        *,
        worker: str,
    ) -> None:
        self._history = history
        self._archive = archive
        self._outbound = outbound
        self._settings = settings
        self._kept_s = max(LONG_TTL_S, settings.dead_letter_ttl_s)
        self.deliveries = DeliveryWorker(
            Deliveries(
                redis, "archive", partitions=settings.partitions, bounds=bounds(settings, POLICY.attempts)
            ),
            Feed(redis, "archive", worker=worker, partitions=settings.partitions),
            POLICY,
            worker=worker,
            slots=settings.delivery_slots,
            attempt=self._deliver,
            select=self._select,
            counted=lambda outcome: metrics.ARCHIVED.labels(_OUTCOMES.get(outcome, outcome)).inc(),
            every_s=POLL_INTERVAL_S,
        )

    async def report(self) -> dict[str, Any]:
        """State for /health. That route needs no key, so `last_error` is only a code."""
        queue = self.deliveries
        return {
            "status": "healthy" if queue.last_error is None else "failing",
            "waiting": queue.waiting,
            "dead": queue.dead,
            "failures": queue.failures,
            "last_error": queue.last_error,
        }

    async def _select(self, entry: FeedEntry) -> Selected | None:
        if entry.kind != "closed" or not entry.uid:
            return None
        return Selected(entry.entry, DeliveryLane(entry.owner, entry.uid), {"sid": entry.id})

    async def _deliver(self, delivery: Delivery) -> None:
        sid = delivery.fields["sid"]
        try:
            document = await document_of(self._history, sid)
        except SessionNotFoundError:
            log.warning("archive.session_missing", session=sid)  # deleted meanwhile
            return
        try:
            await self._store(document)
            if self._settings.omi_write_back and document["text"]:
                await self._write_back(document)
        except Exception:  # the next attempt needs the session
            await self._history.keep(sid, self._kept_s)
            raise
        await self._history.keep(sid, self._settings.session_ttl_s)

    async def _store(self, document: Document) -> None:
        try:
            await self._archive.put(document)
        except (BaseError, OSError) as error:
            raise DeliveryFailedError("archive_unavailable", f"{type(error).__name__}: {error}") from error
        except ValueError as error:  # obstore refused the path
            raise DeliveryFailedError("archive_refused", str(error), permanent=True) from error

    async def _write_back(self, document: Document) -> None:
        """Send the transcript to Omi, which recognises a repeat by the session's id."""
        segments = [
            {
                "text": s["text"],
                "start": s["start"],
                "end": s["end"],
                **speaker_of(s.get("speaker")),
            }
            for s in document["segments"]
        ]
        for part in range(0, len(segments), MAX_SEGMENTS):
            body = {
                "transcript_segments": segments[part : part + MAX_SEGMENTS],
                "client_session_id": document["session_id"] + (f"-{part}" if part else ""),
                "source": "omi",
                "started_at": document["started_at"],
                "finished_at": document["ended_at"],
                "language": document["language"] or "en",
            }
            await self._outbound.post(
                f"{self._settings.omi_api_base.rstrip('/')}/v1/dev/user/conversations/from-segments",
                orjson.dumps(body),
                headers={
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {self._settings.omi_dev_api_key}",
                },
            )


_OUTCOMES: Final = {"sent": "stored"}
