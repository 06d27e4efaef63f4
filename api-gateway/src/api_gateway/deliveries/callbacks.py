"""Callbacks: posts ended jobs to their `callback_url`, signed, at least once."""

import time
from typing import Any, Final

import orjson

from api_gateway import metrics
from api_gateway.deliveries.queues import bounds
from api_gateway.deliveries.signature import sign_plain, standard_headers
from api_gateway.presenters import deepgram
from api_gateway.presenters.deepgram_file import Presentation, response_of
from api_gateway.presenters.job import document_of
from api_gateway.settings import GatewaySettings
from parlando.errors import DeliveryFailedError, JobNotFoundError, ParlandoError
from parlando.ids import fingerprint
from parlando.outbound import POST_S, Outbound, SendError, destination_of
from parlando.store.connection import Redis
from parlando.store.deliveries import Deliveries, Delivery, Selected
from parlando.store.delivery_worker import DeliveryWorker, Policy
from parlando.store.feed import Feed, FeedEntry
from parlando.store.job_store import JobRecord, Jobs
from parlando.store.slots import DeliveryLane

POLICY: Final = (
    Policy(  # 16 attempts in 20 hours, because a job and its dead letter expire after a day (JOB_TTL_S)
        delays_s=(2, 10, 60, 300, 1800, 3600, 7200), attempts=16, age_s=24 * 3600, attempt_s=POST_S + 15
    )
)


GONE: Final = "http_410"  # the endpoint is gone for good: don't retry


class JobCallbacks:
    """Posts completed and failed jobs that have a `callback_url`."""

    def __init__(
        self, redis: Redis, jobs: Jobs, outbound: Outbound, settings: GatewaySettings, *, worker: str
    ) -> None:
        self._jobs = jobs
        self._outbound = outbound
        self._secret = settings.callback_secret
        self._keys = {fingerprint(key): key for key in settings.api_keys}
        self.deliveries = DeliveryWorker(
            Deliveries(
                redis, "callback", partitions=settings.partitions, bounds=bounds(settings, POLICY.attempts)
            ),
            Feed(redis, "callback", worker=worker, partitions=settings.partitions),
            POLICY,
            worker=worker,
            slots=settings.delivery_slots,
            attempt=self._call,
            select=self._select,
            counted=lambda outcome: metrics.CALLED.labels(outcome).inc(),
        )

    async def _select(self, entry: FeedEntry) -> Selected | None:
        if entry.kind not in ("job_completed", "job_failed") or not entry.wanted:
            return None
        try:
            record = await self._jobs.record(entry.id)
        except JobNotFoundError:
            return None  # deleted, or expired
        lane = DeliveryLane(record.key, destination_of(record.options.callback_url or ""))
        return Selected(entry.entry, lane, {"job": entry.id})

    async def _document(self, record: JobRecord) -> dict[str, Any]:
        """Our document of a job, or the response of the API by which it was submitted."""
        if not record.options.presentation:
            return await document_of(self._jobs, record)
        shown = Presentation.model_validate_json(record.options.presentation)
        try:
            return response_of(record, await self._jobs.transcript(record), shown)
        except ParlandoError as failure:
            return deepgram.error(deepgram.err_code(failure), failure.message, record.job)

    async def _call(self, delivery: Delivery) -> None:
        try:
            record = await self._jobs.record(delivery.fields["job"])
        except JobNotFoundError:
            return  # deleted meanwhile, or expired
        if not record.options.callback_url:
            return
        body = orjson.dumps(await self._document(record))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": record.job,
            "X-Parlando-Attempt": str(delivery.attempt),
        }
        if secret := self._secret or self._keys.get(record.key, ""):
            now = int(time.time())
            headers["X-Parlando-Signature"] = sign_plain(secret, body, at=now)
            headers |= standard_headers(secret, record.job, body, at=now)
        try:
            await self._outbound.post(record.options.callback_url, body, headers=headers)
        except SendError as error:
            raise DeliveryFailedError(error.code, error.message, permanent=error.code == GONE) from error
