"""What a live session costs Redis, and what an idle one costs everybody: python -m bench.costs

Sessions of continuous speech: memory of their keys, commands and bytes that Redis sees. Then sessions that
send silence: the processor time of all processes, less that without sessions.
"""

import asyncio
import time

import numpy as np
import psutil

from bench.load import RATE, loops, talk
from bench.results import Table
from support.cluster import Cluster
from support.speech import fixture

SESSIONS = 8
SECONDS = 20
IDLE = 20
BAR_KB = 500
BAR_IDLE = 0.002  # of a core a session


def processor_time(cluster: Cluster) -> float:
    """Seconds of all processes, Redis too."""
    pids = [each.process.pid for each in (*cluster.gateways, *cluster.transcribers, *cluster.processors)]
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in (*pids, cluster.redis.pid))


async def memory(cluster: Cluster) -> float:
    """Largest kilobytes that a session's keys take, while `SESSIONS` of them speak."""
    store, most = cluster.store(), 0
    speaking = [
        asyncio.create_task(talk(cluster.ports[0], pcm))
        for pcm in loops(fixture("two_cities.flac"), SESSIONS, SECONDS)
    ]
    while not all(task.done() for task in speaking):
        await asyncio.sleep(0.5)
        keys = await asyncio.to_thread(lambda: [*store.scan_iter("stt:*:s_*")])
        total = sum(store.memory_usage(key) or 0 for key in keys)
        most = max(most, total / SESSIONS / 1024)
    return most


async def idle(cluster: Cluster, sessions: int) -> float:
    """Cores that so many sessions of silence take together."""
    silence = np.zeros(SECONDS * RATE, np.int16)
    before, started = processor_time(cluster), time.monotonic()
    await asyncio.gather(*(talk(cluster.ports[0], silence, frame_ms=100) for _ in range(sessions)))
    if not sessions:
        await asyncio.sleep(SECONDS)
    return (processor_time(cluster) - before) / (time.monotonic() - started)


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
        nothing = asyncio.run(idle(cluster, 0))
        something = asyncio.run(idle(cluster, IDLE))
    each = (something - nothing) / IDLE
    table = Table("costs", "What sessions cost", ("what", "figure", "bar"))
    table.rows = [
        ("Redis memory of a session that speaks, most, KB", kilobytes, BAR_KB),
        ("Redis commands per second of audio", commands, None),
        ("Redis traffic per second of audio, KB (the audio itself is 31)", traffic / audio / 1024, None),
        ("a session that is silent, all processes, % of a core", 100 * each, 100 * BAR_IDLE),
        ("the cluster without sessions, % of a core", 100 * nothing, None),
    ]
    table.data = {"redis_kb": kilobytes, "idle": each}
    table.publish()


if __name__ == "__main__":
    main()
