"""The cost of an append-only file: python -m bench.durability

A Redis in memory and one with `appendonly yes, appendfsync everysec`, alternately. Appends: 64 sessions of
20 ms frames in real time, each awaited. Gateway: as in `bench.intake`, in real time.
"""

import asyncio
import os
import time

import numpy as np
import psutil

from bench.intake import FRAME, SESSIONS, send_all, stand_in
from bench.results import Table
from parlando.store.connection import connect
from parlando.store.sessions import Sessions
from support.cluster import Cluster
from support.pools import PLACE
from support.redis_server import RedisServer

ROUNDS = 3
WRITERS = 64
SECONDS = 10
FRAME_S = 0.02
PCM = np.random.default_rng(1).integers(-3000, 3000, FRAME).astype("<i2").tobytes()


async def appends(url: str) -> list[float]:
    """The latency of each append in milliseconds."""
    redis = connect(url)
    sessions, took = Sessions(redis, partitions=1, ttl_s=600), []

    async def write(number: int) -> None:
        writer = await sessions.open(f"s{number}", places=[PLACE], config={}, token="t")
        started = time.monotonic() + number * FRAME_S / WRITERS
        for frame in range(int(SECONDS / FRAME_S)):
            await asyncio.sleep(max(0.0, started + frame * FRAME_S - time.monotonic()))
            asked = time.perf_counter()
            await writer.append(PCM, 1 << 30)
            took.append((time.perf_counter() - asked) * 1000)

    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    await redis.aclose()
    return took


def measure_appends(*, durable: bool) -> list[float]:
    redis = RedisServer(durable=durable)
    redis.start()
    try:
        return asyncio.run(appends(redis.url))
    finally:
        redis.stop()


def measure_gateway(*, durable: bool) -> tuple[float, float, float, int]:
    """Frames sent per second, frames per second of gateway CPU time, cores used by Redis, missing samples."""
    with Cluster(transcribers=0, BUFFER_MAX_S="120", redis=RedisServer(durable=durable)) as cluster:
        stand_in(cluster)
        processes = [psutil.Process(pid) for pid in (cluster.gateways[0].process.pid, cluster.redis.pid)]
        before = [sum(process.cpu_times()[:2]) for process in processes]
        started = time.monotonic()
        sids, ticks, took = asyncio.run(send_all(cluster.ports[0], 1.0))
        gateway, redis = (
            sum(process.cpu_times()[:2]) - was for process, was in zip(processes, before, strict=True)
        )
        seconds = time.monotonic() - started
        store = cluster.store()
        kept = sum(int(store.hget(f"stt:{{0}}:session:{sid}", "received")) for sid in sids)
    frames = SESSIONS * ticks
    return frames / took, frames / gateway, redis / seconds, frames * FRAME - kept


def main() -> None:
    """Measure, and publish the table."""
    table = Table(
        "durability",
        f"An append-only file ({WRITERS} sessions for appends, {SESSIONS} for the gateway)",
        (
            "Redis",
            *("append p50 ms", "append p95 ms", "append p99 ms"),
            *("frames/s", "gateway: frames/s a core", "Redis, cores", "samples missing"),
        ),
    )
    loads = [os.getloadavg()[0]]
    took: dict[bool, list[float]] = {False: [], True: []}
    intake: dict[bool, list[tuple[float, float, float, int]]] = {False: [], True: []}
    for number in range(ROUNDS):
        for durable in (False, True) if number % 2 == 0 else (True, False):
            took[durable] += measure_appends(durable=durable)
            intake[durable].append(measure_gateway(durable=durable))
            loads.append(os.getloadavg()[0])
    for durable in (False, True):
        name = "append-only file, everysec" if durable else "in memory"
        sent, cost, redis, missing = (float(np.median(each)) for each in zip(*intake[durable], strict=True))
        table.rows.append(
            (name, *map(float, np.percentile(took[durable], [50, 95, 99])), sent, cost, redis, int(missing))
        )
    table.remarks.append(
        f"{ROUNDS} rounds in turn; load average of the machine {min(loads):.1f} to {max(loads):.1f}"
    )
    table.publish()


if __name__ == "__main__":
    main()
