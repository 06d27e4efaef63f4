"""Times and memory of the analysis: `python -m bench.analysis` in tests/. Prints a table.

- the first partial transcript of a file of a minute, after its upload, and all steps;
- 100 streams at once: from an update's timestamp, which the analyzer writes, to the client;
- live annotations beside 8 sessions of continuous speech: from a final to its annotations, at the client;
- the memory of an analyzer that has loaded nothing, and one that has loaded its models.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import orjson
import psutil

from bench.machine import describe
from bench.streams import stream
from parlando.client import connect
from support.cluster import Cluster
from support.jobs import wav
from support.perfect import PERFECT, silence, speak
from support.streaming import send
from support.tasks import ALL, REAL_TIME, analysed

REPEATS = 5
STREAMS = 100
SESSIONS = 8
SECONDS = 60.0
ANALYZE = "entities,topics,questions,actions"


def spread(values: list[float]) -> str:
    """Median and 95th percentile in milliseconds."""
    p50, p95 = np.percentile(values, [50, 95]) * 1000
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms (n = {len(values)})"


def memory_mb(cluster: Cluster) -> float:
    return psutil.Process(cluster.analyzers[0].process.pid).memory_info().rss / 1e6


def files(cluster: Cluster) -> None:
    """A minute of real speech, as the only task."""
    file = wav(stream(1, SECONDS).pcm)
    firsts, wholes = [], []
    for _ in range(REPEATS):
        started = time.monotonic()
        first = None
        with analysed(cluster.http(), file, language="en", **ALL) as (_, updates):
            for update in updates:
                if first is None and "transcript" in (update.get("partial_result") or {}):
                    first = time.monotonic() - started
        firsts.append(first or 0.0)
        wholes.append(time.monotonic() - started)
    print(f"file of 60 s: first partial transcript {statistics.median(firsts):.2f} s after the request began")
    print(f"file of 60 s: completed after {statistics.median(wholes):.2f} s (medians of {REPEATS})")


async def together(cluster: Cluster) -> None:
    """Streams of short files at once, with an engine that costs nothing."""
    delays: list[float] = []

    async def one(client: httpx.AsyncClient, number: int) -> None:
        file = wav(np.concatenate([speak(4, first=10 * number), silence(0.8)]))
        data = {"language": "en"}
        async with client.stream(
            "POST", f"{cluster.http()}{REAL_TIME}", files={"audio": ("a.wav", file)}, data=data
        ) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    sent = datetime.fromisoformat(orjson.loads(line[6:])["timestamp"])
                    delays.append((datetime.now(UTC) - sent).total_seconds())

    started = time.monotonic()
    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None)) as client:
        await asyncio.gather(*(one(client, number) for number in range(STREAMS)))
    took = time.monotonic() - started
    print(f"{STREAMS} streams at once: update latency {spread(delays)}; all completed after {took:.1f} s")


async def live(cluster: Cluster) -> None:
    """Sessions of continuous real speech in real time."""
    delays: dict[str, list[float]] = {}

    async def one(number: int) -> None:
        pcm = stream(number, SECONDS).pcm
        finals: dict[int, float] = {}
        options = {"annotations": True, "analyze": ANALYZE}
        async with connect(cluster.url(), **options) as session:

            async def talk() -> None:
                await send(session, pcm)
                await asyncio.sleep(3)
                await session.end()

            talking = asyncio.create_task(talk())
            async for event in session:
                if event["type"] == "final":
                    finals[event["segment"]] = time.monotonic()
                elif event["type"] == "annotation":
                    delay = time.monotonic() - finals[event["data"]["segment"]]
                    delays.setdefault(event["kind"], []).append(delay)
            await talking

    await asyncio.gather(*(one(number) for number in range(1, SESSIONS + 1)))
    for kind, found in sorted(delays.items()):
        print(f"live, {SESSIONS} sessions: final → {kind}: {spread(found)}")
    everything = [delay for found in delays.values() for delay in found]
    print(f"live, {SESSIONS} sessions: final → annotation: {spread(everything)}")


def main() -> None:
    print(describe())
    with Cluster(transcribers=2, processors=1, analyzers=1) as cluster:
        print(f"analyzer without models: {memory_mb(cluster):.0f} MB")
        files(cluster)
        print(f"analyzer with its models: {memory_mb(cluster):.0f} MB")
        asyncio.run(live(cluster))
    with Cluster(transcribers=1, processors=1, analyzers=1, **PERFECT) as cluster:
        asyncio.run(together(cluster))


if __name__ == "__main__":
    main()
