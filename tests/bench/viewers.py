"""The cost of a session's viewers in the gateway: python -m bench.viewers

A session of real speech in real time, without viewers and with 200 over server-sent events: the gateway's
CPU time of both, and whether each viewer received every final.
"""

import asyncio
import time

import numpy as np
import psutil

from bench.results import Table
from parlando.client import connect
from support.cluster import Cluster
from support.speech import fixture
from support.streaming import send

VIEWERS = 200
BAR = 0.10  # share of a core


async def watch(port: int, sid: str, heard: list[int], number: int) -> None:
    """Follow a session as a browser does, on a plain socket, which takes little CPU time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /v1/stt/sessions/{sid}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    answer = await reader.read()
    heard[number] = answer.count(b"event: final\n")
    writer.close()


async def measure(cluster: Cluster, pcm: np.ndarray, viewers: int) -> tuple[float, float, int, list[int]]:
    """The share of a core, events per second, finals, and the finals that each viewer received."""
    process = psutil.Process(cluster.gateways[0].process.pid)
    heard = [0] * viewers
    events = finals = 0
    async with connect(cluster.url()) as session:
        await send(session, pcm[:16_000])
        watching = [
            asyncio.create_task(watch(cluster.ports[0], session.id, heard, n)) for n in range(viewers)
        ]
        await asyncio.sleep(1)
        before, started = sum(process.cpu_times()[:2]), time.monotonic()

        async def talk() -> None:
            await send(session, pcm[16_000:])
            await session.end()

        talking = asyncio.create_task(talk())
        spent = taken = 0.0
        async for event in session:
            events += event["type"] in ("partial", "final", "speech_started")
            finals += event["type"] == "final"
            taken = time.monotonic() - started
            spent = sum(process.cpu_times()[:2]) - before
        await talking
        await asyncio.gather(*watching)
    return spent / taken, events / taken, finals, heard


def main() -> None:
    """Measure, and publish the table."""
    table = Table(
        "viewers",
        f"{VIEWERS} viewers of one session",
        ("viewers", "gateway, % of a core", "events / s", "finals", "finals lost by viewers"),
    )
    pcm = fixture("two_cities.flac")[: 20 * 16_000]
    with Cluster(transcribers=1) as cluster:
        shares = []
        for viewers in (0, VIEWERS):
            share, rate, finals, heard = asyncio.run(measure(cluster, pcm, viewers))
            shares.append(share)
            lost = sum(abs(finals - count) for count in heard)
            table.rows.append((viewers, 100 * share, rate, finals, lost))
    cost = shares[1] - shares[0]
    table.data = {"cost": cost}
    table.remarks.append(f"{VIEWERS} viewers cost {100 * cost:.1f} % of a core (bar: {100 * BAR:.0f} %)")
    table.publish()


if __name__ == "__main__":
    main()
