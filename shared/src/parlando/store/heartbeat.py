"""Workers' signs of life: one hash, worker id → report, stamped with Redis's clock."""

from typing import Any, Final

import orjson

from parlando.store.connection import Redis, clock, once
from parlando.store.keys import WORKERS
from parlando.store.schema import VERSION, check_schema

FORGOTTEN_S: Final = 60  # a report that old is deleted by whoever reads it


async def beat(redis: Redis, worker: str, report: dict[str, Any]) -> None:
    """Say that `worker` lives. Raises `UnavailableError`; the next beat is the retry. Raises
    `SchemaError`.
    """
    await check_schema(redis)
    seconds, micros = await once(lambda: clock(redis, WORKERS))
    stamped = orjson.dumps({**report, "worker": worker, "schema": VERSION, "at": seconds + micros / 1e6})
    await once(lambda: redis.hset(WORKERS, worker, stamped))


async def sign_off(redis: Redis, worker: str) -> None:
    """Leave the list."""
    await redis.hdel(WORKERS, worker)


async def alive(redis: Redis, *, within_s: float = 5.0) -> list[dict[str, Any]]:
    """The reports of workers that came in the last `within_s` seconds. Raises `UnavailableError` at once."""
    found = await once(lambda: redis.hgetall(WORKERS))
    seconds, _ = await once(lambda: clock(redis, WORKERS))
    beats = {worker: orjson.loads(report) for worker, report in found.items()}
    gone = [worker for worker, report in beats.items() if seconds - report["at"] > FORGOTTEN_S]
    if gone:
        await once(lambda: redis.hdel(WORKERS, *gone))
    return [report for report in beats.values() if seconds - report["at"] < within_s]
