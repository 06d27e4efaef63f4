"""Finals on their way to a user's webhook, in the shape in which Omi sends transcripts.

Any gateway may send them. Each is tried again, ever later, for about a day; a repeat carries the same
segment id and the same Idempotency-Key.
"""

import time
from typing import Any, Final

import httpx
import orjson
import structlog

from api_gateway import metrics
from api_gateway.settings import GatewaySettings
from api_gateway.signature import sign
from parlando.outbound import Outbound, RefusedAddressError
from parlando.redislog.chores import Chore, Chores
from parlando.redislog.connection import Redis
from parlando.redislog.keys import PUSHERS, pushes

LOOK_EVERY_S: Final = 0.2
DELAYS_S: Final = (1, 5, 30, 120, 600, 1800, 3600)
MOST_ATTEMPTS: Final = 30

log = structlog.get_logger(part="pusher")


class Pusher:
    """A loop that looks for finals to send."""

    def __init__(self, redis: Redis, outbound: Outbound, settings: GatewaySettings) -> None:
        self._outbound = outbound
        self._settings = settings
        self._chores = Chores(
            redis,
            pushes,
            PUSHERS,
            worker="gateway",
            partitions=settings.partitions,
            delays_s=DELAYS_S,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        await self._chores.work(self._do, every_s=LOOK_EVERY_S)

    async def _do(self, chore: Chore) -> None:
        final = orjson.loads(chore.fields["e"])
        try:
            if final["text"]:
                await self._send(chore.fields["uid"].decode(), final)
        except (httpx.HTTPError, RefusedAddressError) as error:
            metrics.PUSHED.labels("failed").inc()
            log.warning("push.failed", attempt=chore.attempt, error=str(error)[:200])
            if chore.attempt < MOST_ATTEMPTS:
                return
            metrics.PUSHED.labels("given_up").inc()
        else:
            metrics.PUSHED.labels("sent").inc()
        await self._chores.done(chore)

    async def _send(self, uid: str, final: dict[str, Any]) -> None:
        body = orjson.dumps({"segments": [_segment(final)], "session_id": final["session_id"]})
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{final['session_id']}-{final['seq']}",
        }
        if secret := self._settings.omi_transcript_webhook_secret:
            headers["X-Omi-Signature"] = sign(secret, uid, body, at=int(time.time()))
        answer = await self._outbound.post(
            self._settings.omi_transcript_webhook, body, headers=headers, params={"uid": uid}
        )
        answer.raise_for_status()


def _segment(final: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{final['session_id']}-{final['segment']}",
        "text": final["text"],
        "speaker": "SPEAKER_00",
        "speaker_id": 0,
        "is_user": False,
        "person_id": None,
        "start": final["start"],
        "end": final["end"],
        "stt_provider": "parlando",
    }
