"""Ended jobs on their way to their `callback_url`. Any gateway may send them; each is tried for a day."""

import time
from typing import Final

import httpx
import orjson
import structlog

from api_gateway import metrics
from api_gateway.job_documents import document_of
from api_gateway.settings import GatewaySettings
from api_gateway.signature import sign_plain
from parlando.errors import JobNotFoundError
from parlando.ids import fingerprint
from parlando.outbound import Outbound, RefusedAddressError
from parlando.redislog.chores import Chore, Chores
from parlando.redislog.connection import Redis
from parlando.redislog.jobs import JobRecord, Jobs
from parlando.redislog.keys import CALLERS, callbacks

LOOK_EVERY_S: Final = 0.2
DELAYS_S: Final = (2, 10, 60, 300, 1800, 3600, 7200)
GIVE_UP_S: Final = 24 * 3600
FAILURES: Final = (httpx.HTTPError, RefusedAddressError)

log = structlog.get_logger(part="callbacks")


class Caller:
    """A loop that looks for ended jobs whose owner wants to be told."""

    def __init__(self, redis: Redis, jobs: Jobs, outbound: Outbound, settings: GatewaySettings) -> None:
        self._jobs = jobs
        self._outbound = outbound
        self._secret = settings.callback_secret
        self._keys = {fingerprint(key): key for key in settings.api_keys}
        self._chores = Chores(
            redis, callbacks, CALLERS, worker="gateway", partitions=settings.partitions, delays_s=DELAYS_S
        )

    async def run(self) -> None:
        """Work until cancelled."""
        await self._chores.work(self._do, every_s=LOOK_EVERY_S)

    async def _do(self, chore: Chore) -> None:
        try:
            record = await self._jobs.record(chore.fields["job"].decode())
            await self._call(record)
        except JobNotFoundError:
            pass  # deleted meanwhile, or expired
        except FAILURES as error:
            metrics.CALLED.labels("failed").inc()
            log.warning("callback.failed", job=record.job, attempt=chore.attempt, error=str(error)[:200])
            if time.time() - record.ended_ms / 1000 < GIVE_UP_S:
                return
            metrics.CALLED.labels("given_up").inc()
        else:
            metrics.CALLED.labels("sent").inc()
        await self._chores.done(chore)

    async def _call(self, record: JobRecord) -> None:
        assert record.options.callback_url
        body = orjson.dumps(await document_of(self._jobs, record))
        headers = {"Content-Type": "application/json", "Idempotency-Key": record.job}
        if secret := self._secret or self._keys.get(record.key, ""):
            headers["X-Parlando-Signature"] = sign_plain(secret, body, at=int(time.time()))
        answer = await self._outbound.post(record.options.callback_url, body, headers=headers)
        answer.raise_for_status()
