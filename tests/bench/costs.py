"""The cost of a live session in Redis, and of an idle one in all processes: python -m bench.costs

For sessions of continuous speech: memory of their keys, commands and bytes processed by Redis. For sessions
that send silence or nothing: the CPU time of all processes, less that without sessions.
"""

import asyncio
import time

import numpy as np
import psutil
import websockets

from bench.load import RATE, loops, talk
from bench.results import Table
from support.cluster import Cluster
from support.speech import fixture

SESSIONS = 8
SECONDS = 20
IDLE = 20
BAR_KB = 500
BAR_IDLE = 0.002  # share of a core per session


def processor_time(cluster: Cluster) -> dict[str, float]:
    """The CPU seconds of each process."""
    pids = {
        "gateway": cluster.gateways[0].process.pid,
        "transcriber": cluster.transcribers[0].process.pid,
        "Redis": cluster.redis.pid,
    }
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}


async def memory(cluster: Cluster) -> float:
    """The greatest size of a session's keys in kilobytes, while `SESSIONS` sessions send speech."""
    store, limit = cluster.store(), 0
    speaking = [
        asyncio.create_task(talk(cluster.ports[0], pcm))
        for pcm in loops(fixture("two_cities.flac"), SESSIONS, SECONDS)
    ]
    while not all(task.done() for task in speaking):
        await asyncio.sleep(0.5)
        keys = await asyncio.to_thread(lambda: [*store.scan_iter("stt:*:s_*")])
        total = sum(store.memory_usage(key) or 0 for key in keys)
        limit = max(limit, total / SESSIONS / 1024)
    return limit


async def idle(cluster: Cluster, sessions: int, *, sending: bool) -> dict[str, float]:
    """The share of a core that each process uses for `sessions` that send silence, or nothing."""
    before, started = processor_time(cluster), time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(SECONDS))
        for _ in range(sessions):
            group.create_task(_silent(cluster) if sending else _open(cluster))
    spent = time.monotonic() - started
    return {name: (after - before[name]) / spent for name, after in processor_time(cluster).items()}


async def _silent(cluster: Cluster) -> None:
    await talk(cluster.ports[0], np.zeros(SECONDS * RATE, np.int16), frame_ms=100)


async def _open(cluster: Cluster) -> None:
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream"):
        await asyncio.sleep(SECONDS)


def main() -> None:
    """Measure, and publish the table."""
    with Cluster(transcribers=1, WORKER_SESSIONS="40") as cluster:
        store = cluster.store()
        before = store.info("stats")
        kilobytes = asyncio.run(memory(cluster))
        after = store.info("stats")
        audio = SESSIONS * SECONDS
        commands = (after["total_commands_processed"] - before["total_commands_processed"]) / audio
        traffic = sum(
            after[f"total_net_{way}_bytes"] - before[f"total_net_{way}_bytes"] for way in ("input", "output")
        )
        nothing = asyncio.run(idle(cluster, 0, sending=False))
        silent = asyncio.run(idle(cluster, IDLE, sending=True))
        opened = asyncio.run(idle(cluster, IDLE, sending=False))
    silence, openness = ((sum(of.values()) - sum(nothing.values())) / IDLE for of in (silent, opened))
    parts = ", ".join(f"{name} {100 * (silent[name] - nothing[name]) / IDLE:.2f}" for name in silent)
    table = Table("costs", "What sessions cost", ("what", "figure", "bar"))
    table.rows = [
        ("Redis memory of a session that speaks, most, KB", kilobytes, BAR_KB),
        ("Redis commands per second of audio", commands, None),
        ("Redis traffic per second of audio, KB (the audio itself is 31)", traffic / audio / 1024, None),
        ("a session that sends nothing, % of a core", 100 * openness, 100 * BAR_IDLE),
        (f"a session that sends silence, % of a core ({parts})", 100 * silence, None),
        ("the cluster without sessions, % of a core", 100 * sum(nothing.values()), None),
    ]
    table.data = {"redis_kb": kilobytes, "idle": openness, "silent": silence}
    table.publish()


if __name__ == "__main__":
    main()
