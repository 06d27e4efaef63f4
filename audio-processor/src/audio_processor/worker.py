"""The worker loop: says that it lives, and will claim the sessions of the intake queue.

The gateway refuses every format that would need this service so far, so the queue stays empty.
"""

import asyncio
from typing import Final

import structlog

from parlando.errors import UnavailableError
from parlando.ids import new_worker_id
from parlando.redislog.connection import BROKEN, Redis
from parlando.redislog.heartbeat import beat, sign_off

BEAT_EVERY_S: Final = 1.0

log = structlog.get_logger(part="worker")


class ProcessorWorker:
    """One process of the FFmpeg service."""

    def __init__(self, redis: Redis, ffmpeg: str | None) -> None:
        self.id = new_worker_id("processor")
        self.connected = False
        """Whether Redis answered the last heartbeat."""
        self._redis = redis
        self._ffmpeg = ffmpeg

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                try:
                    await beat(self._redis, self.id, {"kind": "processor", "ffmpeg": self._ffmpeg})
                    self.connected = True
                except (*BROKEN, UnavailableError) as error:
                    self.connected = False
                    log.warning("redis.away", error=str(error))
                await asyncio.sleep(BEAT_EVERY_S)
        finally:
            try:
                await sign_off(self._redis, self.id)
            except BROKEN as error:
                log.warning("redis.away", error=str(error))
