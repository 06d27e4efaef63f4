"""The resources for 10,000 live sessions, from measured costs: python -m bench.ten_thousand

Transcribers are simulated (`bench.simulation`) with the measured costs of the engine's windows, calibrated
with `bench.capacity` at 100 % speech and checked with it at 50 %. The costs of a session in the gateway and
in Redis come from `bench.capacity` and `bench.costs`. The cost of a published event on the other nodes of a
Redis Cluster is measured here.
"""

import json
import math
import time

import numpy as np
import psutil
import redis

from bench.capacity import BARS, ENDPOINT_S, SECONDS
from bench.results import FOLDER, Table
from bench.simulation import Load, Prices, fits, moments, price
from bench.streams import stream
from support.redis_topologies import RedisClusterServers
from transcriber.engines.registry import load
from transcriber.settings import TranscriberSettings

SESSIONS = 10_000
PLANNED = 0.7  # planned share of a core's capacity
RATE = 16_000
EVENT = b"x" * 600
EVENTS = 20_000


def broadcast_s() -> float:
    """CPU seconds on each other node of a Redis Cluster for an event published on one node."""
    servers = RedisClusterServers()
    servers.start()
    try:
        node, other = redis.Redis(port=servers.ports[0]), redis.Redis(port=servers.ports[1])
        process = psutil.Process(other.info("server")["process_id"])
        before = sum(process.cpu_times()[:2])
        pipeline = node.pipeline(transaction=False)
        for number in range(EVENTS):
            pipeline.publish("events", EVENT)
            if number % 500 == 499:
                pipeline.execute()
        time.sleep(1)
        return (sum(process.cpu_times()[:2]) - before) / EVENTS
    finally:
        servers.stop()


def measured(share: int) -> dict:
    """The step of `bench.capacity` with the greatest number of sessions that succeeded."""
    steps = json.loads((FOLDER / f"capacity_{share}.json").read_text())["data"]
    return next(step for step in steps["steps"]["ours"] if step["sessions"] == steps["best"]["ours"])


def speech(share: int) -> np.ndarray:
    """What a session of `bench.capacity` says, with speech for `share` per cent of the time."""
    return stream(0, SECONDS, speech=share / 100).pcm


def simulated(prices: Prices, slower: float, share: int) -> Load:
    """The greatest number of sessions of a transcriber, with speech for `share` per cent of the time."""
    pcm = np.tile(speech(share), 2)
    return fits(prices, slower, moments(pcm), len(pcm) / RATE, late_s=ENDPOINT_S + BARS["final_p95"])


def calibrated(prices: Prices, sessions: float) -> float:
    """The factor of the prices, relative to a core alone, at which a transcriber takes `sessions`."""
    low, high = 1.0, 8.0
    while high - low > 0.05:
        middle = (low + high) / 2
        low, high = (middle, high) if simulated(prices, middle, 100).sessions > sessions else (low, middle)
    return high


def main() -> None:
    """Simulate, check, count, and publish the table."""
    engine, _ = load(TranscriberSettings(stt_engine="moonshine"))
    prices, step, half = price(engine, speech(100)), measured(100), measured(50)
    core = step["cpu"]["transcribers"] / 2  # share of a core of each of the two transcribers
    slower = calibrated(prices, step["sessions"] / 2)
    check = simulated(prices, slower, 50)
    alone = simulated(prices, slower * core, 100)
    kilobytes = json.loads((FOLDER / "costs.json").read_text())["data"]["redis_kb"]
    per_core = {
        "transcribers, simulated": float(alone.sessions),
        "gateways, measured": step["sessions"] / step["cpu"]["gateway"],
        "Redis shards, measured": step["sessions"] / step["cpu"]["redis"],
    }
    needed = {part: math.ceil(SESSIONS / (sessions * PLANNED)) for part, sessions in per_core.items()}
    table = Table(
        "ten_thousand",
        f"{SESSIONS:,} sessions of continuous speech",
        ("part", "sessions a core takes", f"with {100 * PLANNED:.0f} % of it planned", "cores needed"),
    )
    table.rows = [(part, limit, limit * PLANNED, needed[part]) for part, limit in per_core.items()]
    events = SESSIONS * (alone.partials + 0.6)  # partials, finals and starts of speech
    each = broadcast_s()
    shard = PLANNED * per_core["Redis shards, measured"]
    table.remarks += [
        f"The simulation has windows take {slower:.1f} times as long as alone on a core: then two cores take "
        f"as many sessions of continuous speech as was measured, {step['sessions']}. With 50 % speech it "
        f"says {2 * check.sessions}; measured were {half['sessions']}.",
        f"On two cores a transcriber had {core:.2f} of one. With one of its own it takes {alone.sessions}: "
        f"finals {alone.final_p95:.2f} s after the end of speech (p95), {alone.partials:.2f} partials/s "
        "of a session.",
        f"The first bottleneck is a single Redis: it runs on one core, and is full at {shard:,.0f} sessions.",
        f"In a Redis Cluster every node is told every event: {events:,.0f} a second at {1e6 * each:.1f} µs, "
        f"{100 * events * each:.0f} % of each shard's core, whatever their number.",
        f"Redis memory: {SESSIONS * kilobytes / (1 << 20):.1f} GB. Audio in and out of Redis: "
        f"{SESSIONS * 64_000 / 1e6:,.0f} MB/s.",
    ]
    table.data = {
        "per_core": per_core,
        "needed": needed,
        "broadcast_s": each,
        "events": events,
        "slower": slower,
        "half": [2 * check.sessions, half["sessions"]],
    }
    table.publish()


if __name__ == "__main__":
    main()
