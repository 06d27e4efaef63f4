"""The throughput of a gateway: python -m bench.intake

Sessions of 20 ms frames in real time, without transcribers: the heartbeat of a fictitious worker reports
free capacity, so that only the gateway, Redis and the sender use the machine. In the end all audio must be in
Redis.
"""

import asyncio
import json
import time

import numpy as np
import psutil

from bench.load import RATE, frame
from bench.results import Table
from support.cluster import Cluster
from support.pools import report as report_of

SESSIONS = (200, 400, 600)
SECONDS = 12
FRAME = RATE // 50
PER_S = 50  # frames of a session in a second
BAR = 30_000  # frames per second on one core


async def open_session(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /v1/stt/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(frame(b'{"type":"ping"}', text=True))
    greeting = await reader.readuntil(b"}")
    told = json.loads(greeting[greeting.index(b"{") :])
    assert told["type"] == "connected", told
    return reader, writer, told["session_id"]


async def drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass


async def send_all(port: int, sessions: int) -> tuple[list[str], int, float]:
    """The session ids, frames per session, and seconds that sending took."""
    opened = []
    for start in range(0, sessions, 20):
        opened += await asyncio.gather(*(open_session(port) for _ in range(start, start + 20)))
    drains = [asyncio.create_task(drain(reader)) for reader, _, _ in opened]
    data = frame(np.zeros(FRAME, np.int16).tobytes())
    ticks = SECONDS * PER_S
    started = time.monotonic()
    for tick in range(ticks):
        for _, writer, _ in opened:
            writer.write(data)
        await asyncio.sleep(max(0.0, started + (tick + 1) / PER_S - time.monotonic()))
    for _, writer, _ in opened:
        await writer.drain()
    took = time.monotonic() - started
    await asyncio.sleep(2)
    for task in drains:
        task.cancel()
    for _, writer, _ in opened:
        writer.close()
    return [sid for _, _, sid in opened], ticks, took


def stand_in(cluster: Cluster) -> None:
    """Write the heartbeat of a worker that does nothing."""
    report = report_of("none", "none", at=time.time() + 600, capacity=10_000)
    cluster.store().hset("stt:workers", "nobody", json.dumps(report))
    time.sleep(1)  # until the gateway reads the heartbeats again


def main() -> None:
    """Measure, and publish the table."""
    table = Table(
        "intake",
        "Gateway: sessions of 20 ms frames in real time",
        (
            "sessions",
            "offered frames/s",
            "sent frames/s",
            "gateway, cores",
            "frames/s a core",
            "samples missing",
        ),
    )
    limits = {"MAX_CONNECTIONS": "2000", "MAX_CONNECTIONS_PER_ADDRESS": "2000"}
    for sessions in SESSIONS:
        with Cluster(transcribers=0, BUFFER_MAX_S="120", **limits) as cluster:
            stand_in(cluster)
            gateway = psutil.Process(cluster.gateways[0].process.pid)
            before = sum(gateway.cpu_times()[:2])
            started = time.monotonic()
            sids, ticks, took = asyncio.run(send_all(cluster.ports[0], sessions))
            spent = sum(gateway.cpu_times()[:2]) - before
            store = cluster.store()
            kept = sum(int(store.hget(f"stt:{{0}}:session:{sid}", "received")) for sid in sids)
            frames = sessions * ticks
            busy = spent / (time.monotonic() - started)
            row = (sessions, sessions * PER_S, frames / took, busy, frames / spent, frames * FRAME - kept)
            table.rows.append(row)
    best = max(row[4] for row in table.rows if row[5] == 0)
    table.data = {"frames_per_core": best, "bar": BAR}
    table.remarks.append(f"{best:.0f} frames/s for a core's time, nothing lost (bar: {BAR})")
    table.publish()


if __name__ == "__main__":
    main()
