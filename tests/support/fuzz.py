"""Shared by both fuzzers: inputs by seed and number, concurrent runs, and the checks after them.

An input depends only on the seed and its number, so a failed one can be repeated alone:
`python -m bench.fuzz --seed 1 --only 4711`.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from support.cluster import Cluster

CONCURRENCY = 48
PATIENCE_S = 120  # seconds within which the run of an input must end, even on a busy machine
KEY = "fuzzed"
ENVIRONMENT = {
    "API_KEYS": KEY,
    "STT_ENGINE": "support.perfect:engine",
    "VAD": "rms",
    "WORKER_SESSIONS": "400",
    "RESUME_WINDOW_S": "2",
    "OMI_IDLE_S": "2",
    "HEAD_TIMEOUT_S": "1",
    "BODY_TIMEOUT_S": "1",
    "KEEP_ALIVE_S": "1",
    "MAX_UPLOAD_MB": "1",
    "OMI_MAX_BODY_MB": "1",
    "MAX_CONNECTIONS_PER_ADDRESS": "1000",
}
KEYLESS = {**ENVIRONMENT, "API_KEYS": ""}
"""Of a gateway without keys, which serves this machine whatever key a client sends."""

Attack = Callable[[int, random.Random], Awaitable[str | None]]
"""Runs one input against a port. Returns the fault, or None."""


def chance(seed: int, number: int) -> random.Random:
    """The random generator of one input."""
    return random.Random(f"{seed}:{number}")


async def attack(port: int, run: Attack, seed: int, numbers: range) -> list[str]:
    """Run inputs. Returns the faults, each with the command that repeats it."""
    wrong: list[str] = []
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    found = await run(port, chance(seed, number))
            except TimeoutError:
                found = f"no end within {PATIENCE_S} s"
            if found:
                wrong.append(f"python -m bench.fuzz --seed {seed} --only {number}: {found}")

    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return wrong


def memory_mb(cluster: Cluster) -> float:
    """The gateway's resident memory."""
    status = Path(f"/proc/{cluster.gateways[0].process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1]) / 1024


def levels(cluster: Cluster) -> dict[str, float]:
    """The present connections, followers and sessions, without the connection that queries them."""
    text = httpx.get(f"{cluster.http()}/metrics", timeout=600).text

    def level(name: str) -> float:
        found = re.search(rf"^parlando_gateway_{name} (\S+)$", text, re.MULTILINE)
        assert found, name
        return float(found[1])

    return {
        "connections": level("tcp_connections") - 1,
        "sockets": level("connections"),
        "viewers": level("viewers"),
        "sessions": cluster.health()["sessions"]["open"],
    }


async def settled(cluster: Cluster, within_s: float = 60) -> dict[str, float]:
    """Wait until all levels are 0. Returns the levels, after `within_s` seconds whatever they are."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while any((found := levels(cluster)).values()) and loop.time() < deadline:
        await asyncio.sleep(0.5)
    return found


def log_faults(cluster: Cluster) -> list[str]:
    """The tracebacks in the gateway's log."""
    text = cluster.gateways[0].log.read_text()
    return [
        part[-2000:]
        for part in re.split(r"^(?=ERROR: |asyncio: |\{)", text, flags=re.MULTILINE)
        if "Traceback" in part
    ]
