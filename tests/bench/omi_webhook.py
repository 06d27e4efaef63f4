"""The latency of Omi's webhook with 100 devices: python -m bench.omi_webhook

Each device sends a body of one second every second; the answer follows when the bytes are in Redis. For
comparison the same run measures the HTTP server alone: GET on the same path.
"""

import asyncio
import tempfile
import time

import httpx
import numpy as np

from bench.results import Table
from support.cluster import Cluster
from support.perfect import speak

DEVICES = 100
SECONDS = 15
BAR_MS = 50


async def measure(base: str, *, post: bool) -> np.ndarray:
    """The latencies of all answers in milliseconds."""
    took: list[float] = []
    body = speak(2).tobytes()
    limits = httpx.Limits(max_connections=DEVICES, max_keepalive_connections=DEVICES)
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=30) as client:

        async def device(number: int) -> None:
            started = time.monotonic() + number / DEVICES
            for second in range(SECONDS):
                await asyncio.sleep(max(0.0, started + second - time.monotonic()))
                asked = time.monotonic()
                if post:
                    answer = await client.post(
                        "/streaming",
                        params={"uid": f"d{number}", "sample_rate": 16_000},
                        content=body,
                        headers={"Idempotency-Key": f"{number}-{second}"},
                    )
                else:
                    answer = await client.get("/streaming")
                took.append((time.monotonic() - asked) * 1000)
                assert answer.status_code == 200

        await asyncio.gather(*(device(number) for number in range(DEVICES)))
    return np.array(took)


def main() -> None:
    """Measure, and publish the table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(
            transcribers=1, STT_ENGINE="support.perfect:engine", VAD="rms", ARCHIVE_URL=folder
        ) as cluster,
    ):
        bare = asyncio.run(measure(cluster.http(), post=False))
        bodies = asyncio.run(measure(cluster.http(), post=True))
    table = Table("omi_webhook", f"Omi's webhook, {DEVICES} devices", ("milliseconds", "p50", "p95", "p99"))
    for name, found in (("GET, bare", bare), ("POST, stored", bodies)):
        table.rows.append((name, *map(float, np.percentile(found, [50, 95, 99]))))
    ratio = np.percentile(bodies, 99) / np.percentile(bare, 99)
    table.remarks.append(f"Bar: p99 of {BAR_MS} ms. The p99 is {ratio:.1f} times that of the bare server.")
    table.publish()


if __name__ == "__main__":
    main()
