"""Notices of recognised songs: to the user's Omi app, and to a webhook; at least once, by any gateway."""

import time
from abc import ABC, abstractmethod
from typing import Any, Final

import orjson

from api_gateway import metrics
from api_gateway.deliveries.queues import bounds
from api_gateway.deliveries.signature import sign_plain
from api_gateway.settings import GatewaySettings
from parlando.domain.annotations import Annotation
from parlando.domain.songs import KIND, label
from parlando.errors import DeliveryFailedError
from parlando.outbound import POST_S, Outbound, SendError, destination_of
from parlando.store.annotations import Annotations
from parlando.store.connection import Redis
from parlando.store.deliveries import Deliveries, Delivery, Selected
from parlando.store.delivery_worker import DeliveryWorker, Policy
from parlando.store.feed import Feed, FeedEntry
from parlando.store.notice_limits import NoticeLimits
from parlando.store.slots import DeliveryLane

NOTICE_POLICY: Final = Policy(delays_s=(1, 5, 30), attempts=4, age_s=300, attempt_s=POST_S + 15)
"""A notice says what is playing now: after 5 minutes it is dropped."""
WEBHOOK_POLICY: Final = Policy(
    delays_s=(1, 5, 30, 120, 600, 1800, 3600), attempts=30, age_s=24 * 3600, attempt_s=POST_S + 15
)
REFUSED: Final = ("http_400", "http_401", "http_403", "http_404", "http_422")
"""Answers of Omi after which another attempt would fail too."""


class _SongDeliveries(ABC):
    """Deliveries of the annotations of songs."""

    def __init__(
        self,
        redis: Redis,
        annotations: Annotations,
        settings: GatewaySettings,
        *,
        queue: str,
        policy: Policy,
        worker: str,
    ) -> None:
        self._annotations = annotations
        self.deliveries = DeliveryWorker(
            Deliveries(
                redis, queue, partitions=settings.partitions, bounds=bounds(settings, policy.attempts)
            ),
            Feed(redis, queue, worker=worker, partitions=settings.partitions),
            policy,
            worker=worker,
            slots=settings.delivery_slots,
            attempt=self._send,
            select=self._select,
            counted=lambda outcome: metrics.SONG_NOTICES.labels(queue, outcome).inc(),
        )

    async def _song(self, entry: FeedEntry) -> Annotation | None:
        """The song of an entry; None if the entry is something else, or its session was deleted."""
        if entry.kind != "annotated":
            return None
        keys = self._annotations.of_session(entry.id)
        for encoded in await self._annotations.page(keys, after=entry.seq - 1, count=1):
            annotation = Annotation.model_validate_json(encoded)
            if annotation.kind == KIND and annotation.number == entry.seq:
                return annotation
        return None

    @abstractmethod
    async def _select(self, entry: FeedEntry) -> Selected | None:
        """The delivery to make from an entry of the feed, or None."""

    @abstractmethod
    async def _send(self, delivery: Delivery) -> None:
        """Make one attempt; raises if it fails."""


class OmiNotices(_SongDeliveries):
    """Tells Omi users which song is played around them, by the notifications of an Omi app."""

    def __init__(
        self,
        redis: Redis,
        annotations: Annotations,
        outbound: Outbound,
        settings: GatewaySettings,
        *,
        worker: str,
    ) -> None:
        super().__init__(redis, annotations, settings, queue="notice", policy=NOTICE_POLICY, worker=worker)
        self._outbound = outbound
        self._url = f"{settings.omi_api_base.rstrip('/')}/v2/integrations/{settings.omi_app_id}/notification"
        self._key = settings.omi_app_key
        self._limits = NoticeLimits(redis, partitions=settings.partitions)

    async def _select(self, entry: FeedEntry) -> Selected | None:
        if not entry.uid or (song := await self._song(entry)) is None:
            return None
        fields = {"uid": entry.uid, "sid": entry.id, "song": orjson.dumps(song.data).decode()}
        return Selected(entry.entry, DeliveryLane(entry.owner, entry.uid), fields)

    async def _send(self, delivery: Delivery) -> None:
        uid, song = delivery.fields["uid"], orjson.loads(delivery.fields["song"])
        admitted = await self._limits.admit(
            delivery.owner, uid, notice=delivery.id, subject=str(song["song_id"]), lasts_s=song["duration"]
        )
        if not admitted:
            metrics.SONG_NOTICES.labels("notice", "suppressed").inc()
            return
        message = f"You're listening to {label(song)}"
        try:
            await self._outbound.post(
                self._url,
                b"",
                headers={"Authorization": f"Bearer {self._key}", "Content-Length": "0"},
                params={"uid": uid, "message": message},
            )
        except SendError as error:
            raise DeliveryFailedError(error.code, error.message, permanent=error.code in REFUSED) from error


class SongWebhook(_SongDeliveries):
    """Posts every named song to `SONG_WEBHOOK`, signed like the callbacks of jobs."""

    def __init__(
        self,
        redis: Redis,
        annotations: Annotations,
        outbound: Outbound,
        settings: GatewaySettings,
        *,
        worker: str,
    ) -> None:
        super().__init__(redis, annotations, settings, queue="song", policy=WEBHOOK_POLICY, worker=worker)
        self._outbound = outbound
        self._url = settings.song_webhook
        self._secret = settings.song_webhook_secret

    async def _select(self, entry: FeedEntry) -> Selected | None:
        song = await self._song(entry)
        if song is None:
            return None
        body: dict[str, Any] = {
            "type": "song",
            "session_id": entry.id,
            "uid": entry.uid or None,
            "timestamp": song.timestamp,
            **song.data,
        }
        lane = DeliveryLane(entry.owner, destination_of(self._url))
        return Selected(entry.entry, lane, {"sid": entry.id, "body": orjson.dumps(body).decode()})

    async def _send(self, delivery: Delivery) -> None:
        body = delivery.fields["body"].encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{delivery.partition}-{delivery.id}",
            "X-Parlando-Attempt": str(delivery.attempt),
        }
        if self._secret:
            headers["X-Parlando-Signature"] = sign_plain(self._secret, body, at=int(time.time()))
        await self._outbound.post(self._url, body, headers=headers)
