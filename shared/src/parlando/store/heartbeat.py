"""Heartbeats of workers: one hash, worker id → report, with a timestamp of Redis's clock."""

from typing import Any, Final

import orjson

from parlando.store.connection import Redis, clock, once
from parlando.store.keys import POOLS, WORKERS
from parlando.store.pools import remembered
from parlando.store.schema import VERSION, check_schema

FORGOTTEN_S: Final = 60  # readers delete reports older than this


async def beat(redis: Redis, worker: str, report: dict[str, Any]) -> None:
    """Store a heartbeat of `worker`, and what its pool can do, without retries.

    `report`: with a field `pool`, the fields of `pools.ABILITIES` too.

    Raises
    ------
    SchemaError, UnavailableError

    """
    await check_schema(redis)
    seconds, micros = await once(lambda: clock(redis, WORKERS))
    stamped = orjson.dumps({**report, "worker": worker, "schema": VERSION, "at": seconds + micros / 1e6})
    await once(lambda: redis.hset(WORKERS, worker, stamped))
    if pool := report.get("pool"):
        await once(lambda: redis.hset(POOLS, pool, remembered(report, seconds)))


async def delete_heartbeat(redis: Redis, worker: str) -> None:
    """Delete the heartbeat of a worker that shuts down."""
    await redis.hdel(WORKERS, worker)


async def alive(redis: Redis, *, within_s: float = 5.0) -> list[dict[str, Any]]:
    """The reports of the last `within_s` seconds. Raises `UnavailableError` without retries."""
    found = await once(lambda: redis.hgetall(WORKERS))
    seconds, _ = await once(lambda: clock(redis, WORKERS))
    beats = {worker: orjson.loads(report) for worker, report in found.items()}
    gone = [worker for worker, report in beats.items() if seconds - report["at"] > FORGOTTEN_S]
    if gone:
        await once(lambda: redis.hdel(WORKERS, *gone))
    return [report for report in beats.values() if seconds - report["at"] < within_s]
