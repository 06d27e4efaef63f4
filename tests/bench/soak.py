"""Half an hour of continuous sessions: python -m bench.soak [minutes]

Measures the memory of every process after the first five minutes and at the end, and whether messages and
delays grow. One of the sessions is resampled. Short sessions run beside them, so that leaks of ended sessions
are measured, too. Redis keeps transcripts until a minute after a session's end: they are counted separately.
"""

import asyncio
import sys
import time

import numpy as np
import psutil

from bench.load import RATE, Session, loops, talk
from bench.results import Table
from support.cluster import Cluster
from support.speech import fixture

SESSIONS = 7  # number of sessions at 16 kHz
LOW_RATE = 8000  # Hz, of one more session
GUEST_S = 15.0  # length of a short session; the next one begins when it has ended
WARM = 5 / 30  # share of the time before the reference measurement
EVERY_S = 5.0
MB = 1 << 20
BAR = 5.0  # greatest growth in per cent


async def sample(cluster: Cluster, seen: dict[str, list[float]]) -> None:
    """Record the megabytes of each process every few seconds."""
    named = {
        "gateway": cluster.gateways[0],
        "audio-processor": cluster.processors[0],
        **{f"transcriber {n + 1}": each for n, each in enumerate(cluster.transcribers)},
    }
    processes = {name: psutil.Process(each.process.pid) for name, each in named.items()}
    processes["redis"] = psutil.Process(cluster.redis.pid)
    store = cluster.store()
    while True:
        for name, process in processes.items():
            seen.setdefault(name, []).append(process.memory_info().rss / MB)
        kept = sum(store.memory_usage(key, samples=0) or 0 for key in store.scan_iter("stt:*:events:*"))
        used = store.info("memory")["used_memory"]
        seen.setdefault("in redis: transcripts", []).append(kept / MB)
        seen.setdefault("in redis: all else", []).append((used - kept) / MB)
        await asyncio.sleep(EVERY_S)


async def guests(port: int, pcm: np.ndarray, seconds: float) -> list[Session]:
    """Short sessions, one after another, for `seconds`."""
    ends, sessions = time.monotonic() + seconds, []
    while time.monotonic() < ends:
        sessions.append(await talk(port, pcm[: int(GUEST_S * RATE)], frame_ms=100))
    return sessions


def tenths(sessions: list[Session], seconds: float) -> list[tuple[float, float]]:
    """For each tenth of the time: p95 of the finals' delay in seconds, mean size of their messages."""
    found = []
    for part in range(10):
        delays, sizes = [], []
        for session in sessions:
            for at, final in session.of("final"):
                if part * seconds / 10 <= at - session.started < (part + 1) * seconds / 10 and final["text"]:
                    delays.append(at - session.started - final["end"])
                    sizes.append(len(str(final)))
        found.append((float(np.quantile(delays, 0.95)), float(np.mean(sizes))))
    return found


async def soak(
    cluster: Cluster, seconds: float
) -> tuple[list[Session], list[Session], dict[str, list[float]]]:
    """Run all. Returns the continuous sessions, the short sessions, and the memory of each process."""
    seen: dict[str, list[float]] = {}
    port = cluster.ports[0]
    watching = asyncio.create_task(sample(cluster, seen))
    *pieces, low = loops(fixture("two_cities.flac"), SESSIONS + 1, seconds)
    low = low.reshape(-1, RATE // LOW_RATE).mean(axis=1).astype(np.int16)
    coming = asyncio.create_task(guests(port, fixture("jfk.flac"), seconds - GUEST_S))
    sessions = await asyncio.gather(
        *(talk(port, pcm, frame_ms=100) for pcm in pieces),
        talk(port, low, frame_ms=100, rate=LOW_RATE),
    )
    watching.cancel()
    return sessions, await coming, seen


def main() -> None:
    """Measure, and publish the table."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    with Cluster(transcribers=2, processors=1, SESSION_TTL_S="60") as cluster:
        sessions, came, seen = asyncio.run(soak(cluster, minutes * 60))
    table = Table(
        "soak",
        f"{SESSIONS + 1} sessions for {minutes:g} minutes",
        ("what", "warm", "at the end", "growth, %"),
    )
    for name, values in seen.items():
        warm = float(np.median(values[int(len(values) * WARM) :][:12]))
        last = float(np.median(values[-12:]))
        table.rows.append((f"{name}, MB", warm, last, 100 * (last / warm - 1)))
    parts = tenths(sessions, minutes * 60)
    for row, title in enumerate(("finals' delay p95, s", "size of a final, bytes")):
        warm, last = parts[1][row], parts[-1][row]
        table.rows.append((title, warm, last, 100 * (last / warm - 1)))
    incomplete = sum(not each.complete or bool(each.lost_ms) for each in sessions + came)
    table.remarks.append(
        f"One session sends {LOW_RATE} Hz; beside them {len(came)} guests came, one after the other. "
        f"Sessions and guests that lost anything: {incomplete}. Bar: {BAR:g} % of memory."
    )
    table.data = {"seen": seen, "every_s": EVERY_S}
    table.publish()


if __name__ == "__main__":
    main()
