"""The transcript webhook: posts users' finals in the format of Omi's own webhook, at least once.

A repeat carries the same segment id and the same Idempotency-Key.
"""

import time
from typing import Any, Final

import orjson

from api_gateway import metrics
from api_gateway.deliveries.queues import bounds
from api_gateway.deliveries.signature import sign
from api_gateway.presenters.omi import speaker_of
from api_gateway.settings import GatewaySettings
from parlando.outbound import POST_S, Outbound
from parlando.store.connection import Redis
from parlando.store.deliveries import Deliveries, Delivery, Selected
from parlando.store.delivery_worker import DeliveryWorker, Policy
from parlando.store.feed import Feed, FeedEntry
from parlando.store.history import History
from parlando.store.slots import DeliveryLane

POLICY: Final = Policy(  # 30 attempts in a day
    delays_s=(1, 5, 30, 120, 600, 1800, 3600), attempts=30, age_s=24 * 3600, attempt_s=POST_S + 15
)


class TranscriptWebhook:
    """Posts finals to `OMI_TRANSCRIPT_WEBHOOK`."""

    def __init__(
        self, redis: Redis, history: History, outbound: Outbound, settings: GatewaySettings, *, worker: str
    ) -> None:
        self._history = history
        self._outbound = outbound
        self._url = settings.omi_transcript_webhook
        self._secret = settings.omi_transcript_webhook_secret
        self.deliveries = DeliveryWorker(
            Deliveries(
                redis, "push", partitions=settings.partitions, bounds=bounds(settings, POLICY.attempts)
            ),
            Feed(redis, "push", worker=worker, partitions=settings.partitions),
            POLICY,
            worker=worker,
            slots=settings.delivery_slots,
            attempt=self._send,
            select=self._select,
            counted=lambda outcome: metrics.PUSHED.labels(outcome).inc(),
        )

    async def _select(self, entry: FeedEntry) -> Selected | None:
        """Select finals of sessions with `push`. Slots are limited per user, because all go to one host."""
        if entry.kind != "final" or not entry.wanted:
            return None
        final = await self._history.event(entry.id, entry.seq)
        if final is None:
            return None  # deleted, or expired
        return Selected(
            entry.entry, DeliveryLane(entry.owner, entry.uid), {"uid": entry.uid, "e": final.decode()}
        )

    async def _send(self, delivery: Delivery) -> None:
        final = orjson.loads(delivery.fields["e"])
        if not final["text"]:
            return
        uid = delivery.fields["uid"]
        body = orjson.dumps({"segments": [_segment(final)], "session_id": final["session_id"]})
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{final['session_id']}-{final['seq']}",
            "X-Parlando-Attempt": str(delivery.attempt),
        }
        if self._secret:
            headers["X-Omi-Signature"] = sign(self._secret, uid, body, at=int(time.time()))
        await self._outbound.post(self._url, body, headers=headers, params={"uid": uid})


def _segment(final: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{final['session_id']}-{final['segment']}",
        "text": final["text"],
        **speaker_of(final.get("speaker")),
        "is_user": False,
        "person_id": None,
        "start": final["start"],
        "end": final["end"],
        "stt_provider": "parlando",
    }
