"""Which workers are connected to Redis: each one is subscribed to a channel of its own.

The connections of a killed process end at once, long before its leases expire. A stalled process keeps them,
so it doesn't count as disconnected.
"""

import asyncio
import time
from collections.abc import Collection
from typing import Any, Final

import orjson
import redis.asyncio as aioredis
import structlog
from redis.exceptions import RedisError

from parlando.errors import UnavailableError
from parlando.store.connection import Redis, once
from parlando.store.envelope import Envelope
from parlando.store.keys import WORKERS, presence
from parlando.store.pubsub import Channels

HOLD_S: Final = 3.0
"""Seconds after (re)connecting in which no worker counts as disconnected: after a failure of Redis, the other
workers may connect later."""
AGAIN_S: Final = 0.5  # between two attempts to subscribe

log = structlog.get_logger(part="presence")


class Presence:
    """The subscription of one worker, and its view of the others. `worker`: its id."""

    def __init__(self, redis: Redis, worker: str) -> None:
        self._redis = redis
        self._worker = worker
        self._channels = Channels(redis)
        self.since: float | None = None
        """Second of `time.monotonic` at which it was subscribed; None before."""

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._channels.run())
                group.create_task(self._subscribe())
        finally:
            await self._channels.aclose()

    async def _subscribe(self) -> None:
        while True:
            try:
                await self._channels.subscribe(presence(self._worker), self._restored)
            except UnavailableError:
                await asyncio.sleep(AGAIN_S)
            else:
                self.since = time.monotonic()
                return

    def _restored(self, _: Envelope | None) -> None:
        self.since = time.monotonic()

    async def disconnected(self, workers: Collection[str]) -> set[str]:
        """Those of `workers` whose connections have ended since their last heartbeat.

        Workers of versions without presence are never among them, and none is while Redis is unreachable.
        """
        if not workers or self.since is None or time.monotonic() - self.since < HOLD_S:
            return set()
        try:
            return await self._not_subscribed(workers)
        except (UnavailableError, RedisError) as error:
            log.warning("presence.unknown", error=str(error))
            return set()

    async def _not_subscribed(self, workers: Collection[str]) -> set[str]:
        names = [self._worker, *workers]
        # In a Redis Cluster, the node of a subscription is the only one that counts it.
        clustered = isinstance(self._redis, aioredis.RedisCluster)
        nodes: dict[str, str] = {"target_nodes": aioredis.RedisCluster.ALL_NODES} if clustered else {}
        answer: Any = await once(lambda: self._redis.pubsub_numsub(*map(presence, names), **nodes))
        subscribed = {channel.decode() for channel, count in answer if count}
        missing = [worker for worker in workers if presence(worker) not in subscribed]
        if not missing or presence(self._worker) not in subscribed:
            return set()
        reports: Any = await once(lambda: self._redis.hmget(WORKERS, missing))
        return {
            worker
            for worker, report in zip(missing, reports, strict=True)
            if report is not None and orjson.loads(report).get("presence")
        }
