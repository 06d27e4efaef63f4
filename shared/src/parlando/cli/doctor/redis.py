"""Redis: whether it answers, its version and settings, its clock, and the data's schema."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from redis import exceptions
from redis.asyncio import RedisCluster

from parlando.cli.doctor.configured import Configured
from parlando.cli.doctor.finding import Finding, ok, problem, warning
from parlando.errors import UnavailableError
from parlando.store.connection import BROKEN, Redis, clock, connect
from parlando.store.heartbeat import alive
from parlando.store.keys import SCHEMA, WORKERS
from parlando.store.schema import VERSION

WITHIN_S: Final = 5
MIN_VERSION: Final = (6, 2)
SKEW_S: Final = 1.0
FULL: Final = 0.8
START: Final = "start it, or correct REDIS_URL; without REDIS_URL parlando up starts one"


async def check(configured: Configured) -> list[Finding]:
    """All findings about Redis."""
    redis = connect(configured.redis_url, connections=4)
    try:
        async with asyncio.timeout(WITHIN_S):
            return [finding async for finding in _findings(redis, durable=configured.redis_durable)]
    except exceptions.AuthenticationError as error:
        return [problem("redis", str(error), "correct user and password in REDIS_URL")]
    except exceptions.ResponseError as error:
        return [problem("redis", str(error), "allow its user all commands and the keys stt:*")]
    except (*BROKEN, UnavailableError) as error:
        return [problem("redis", f"doesn't answer: {error}", START)]
    finally:
        await redis.aclose()


async def _findings(redis: Redis, *, durable: bool) -> AsyncIterator[Finding]:
    for info in await _infos(redis):
        for finding in settings(info, durable=durable):
            yield finding
    before = time.time()
    seconds, micros = await clock(redis, WORKERS)
    after = time.time()
    yield skew(seconds + micros / 1e6 - (before + after) / 2, (after - before) / 2)
    schema = await redis.get(SCHEMA)
    if schema is not None and int(schema) != VERSION:
        yield problem(
            "schema",
            f"Redis holds data of schema {int(schema)}, this Parlando reads {VERSION}",
            "run the version that wrote it, use another database, or delete stt:* while nothing runs",
        )
        return
    reports = await alive(redis)
    kinds = sorted({str(report["kind"]) for report in reports})
    counted = ", ".join(f"{sum(r['kind'] == kind for r in reports)} {kind}" for kind in kinds)
    yield ok("processes", counted or "none is running on this Redis")


async def _infos(redis: Redis) -> list[dict[str, Any]]:
    """INFO of the server, or of each primary of a Redis Cluster."""
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        return [await redis.info(target_nodes=node) for node in redis.get_primaries()]
    return [await redis.info()]


def settings(info: dict[str, Any], *, durable: bool) -> Iterator[Finding]:
    """Version and settings of a server, from its INFO."""
    version = str(info.get("redis_version", "0"))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    if tuple(map(int, version.split(".")[:2])) < MIN_VERSION:
        yield problem("redis", name, "install Redis 6.2 or newer, or Valkey")
    else:
        yield ok("redis", name)
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        yield problem(
            "redis",
            f"maxmemory-policy is {policy}: Redis deletes audio and transcripts when it is full",
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        )
    else:
        yield ok("redis", "maxmemory-policy noeviction")
    yield _memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))
    if info.get("aof_enabled"):
        yield ok("redis", "appendonly yes: jobs and transcripts survive its death")
    elif durable:
        yield warning(
            "redis", "appendonly no, but REDIS_DURABLE=1", "CONFIG SET appendonly yes, and in redis.conf"
        )
    else:
        yield ok("redis", "appendonly no: jobs and transcripts are lost if it dies")
    for what in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"):
        if info.get(what, "ok") != "ok":
            yield problem(
                "redis", f"{what} is {info[what]}", "see its log: its disk may be full or not writable"
            )


def _memory(used: int, limit: int) -> Finding:
    shown = f"{used >> 20} MB used of {f'{limit >> 20} MB' if limit else 'any amount'}"
    if limit and used > FULL * limit:
        return warning("redis", shown, "raise maxmemory; when it is full, no audio is accepted")
    return ok("redis", shown)


def skew(seconds: float, uncertainty: float) -> Finding:
    """The clock of Redis compared with this machine's: `seconds` ahead, give or take `uncertainty`."""
    shown = f"{seconds:+.3f} s between Redis and this machine, ± {uncertainty:.3f} s"
    if abs(seconds) - uncertainty > SKEW_S:
        return warning(
            "clock", shown, "synchronise both clocks (NTP): times of events and latencies are wrong"
        )
    return ok("clock", shown)
