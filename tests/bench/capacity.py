"""The live sessions that two cores take, ours and the baseline's: python -m bench.capacity [100|50]

Sessions of real speech begin at different places of the recording. Their number rises in steps until finals
are too late (p95 more than a second after the endpoint) or audio is lost; or falls until neither happens.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import psutil

from bench.baseline_servers import servers
from bench.load import RATE, Session, loops, talk
from bench.results import Table
from support.cluster import Cluster
from support.speech import fixture

SECONDS = 25
ENDPOINT_S = 0.5
LATE_S = 1.0  # after the endpoint
OURS = {
    100: (range(24, 100, 8), 56),
    50: (range(40, 160, 12), 76),
}  # speech share in per cent: (numbers to try, first one)
THEIRS = {100: (range(6, 32, 2), 14), 50: (range(12, 64, 4), 32)}
BAR = {100: 24, 50: 40}


@dataclass
class Step:
    """The results of one number of sessions."""

    sessions: int
    final_p50: float
    final_p95: float
    lag_p95: float
    partials: float  # per second and session
    words: int
    lost_ms: int
    incomplete: int
    cpu: dict[str, float]  # share of a core

    @property
    def kept(self) -> bool:
        return self.final_p95 <= ENDPOINT_S + LATE_S and not self.lost_ms and not self.incomplete


def speech(share: int) -> np.ndarray:
    """Speech for `share` per cent of the time."""
    pcm = fixture("two_cities.flac")
    if share == 100:
        return pcm
    parts = []
    for at in range(0, len(pcm), 5 * RATE):
        parts += [pcm[at : at + 5 * RATE], np.zeros(5 * RATE, np.int16)]
    return np.concatenate(parts)


async def load(port: int, pcm: np.ndarray, count: int) -> list[Session]:
    pieces = loops(pcm, count, SECONDS)
    return await asyncio.gather(*(talk(port, piece, delay=0.02 * n) for n, piece in enumerate(pieces)))


def measure(ports: list[int], processes: dict[str, list[int]], pcm: np.ndarray, count: int) -> Step:
    """Run `count` sessions and measure their results."""

    def cpu() -> dict[str, float]:
        return {
            name: sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
            for name, pids in processes.items()
        }

    async def run() -> list[Session]:
        shares = [count // len(ports) + (n < count % len(ports)) for n in range(len(ports))]
        found = await asyncio.gather(
            *(load(port, pcm, n) for port, n in zip(ports, shares, strict=True) if n)
        )
        return [session for each in found for session in each]

    before = cpu()
    sessions = asyncio.run(run())
    spent = {name: (after - before[name]) / SECONDS for name, after in cpu().items()}
    delays = [delay for session in sessions for delay in session.final_delays()] or [float("inf")]
    lags = [e.get("lag_ms", 0) / 1000 for session in sessions for _, e in session.of("partial")] or [0.0]
    step = Step(
        sessions=count,
        final_p50=float(np.quantile(delays, 0.5)),
        final_p95=float(np.quantile(delays, 0.95)),
        lag_p95=float(np.quantile(lags, 0.95)),
        partials=sum(len(s.of("partial")) for s in sessions) / count / SECONDS,
        words=sum(len(f["text"].split()) for s in sessions for _, f in s.of("final")),
        lost_ms=sum(session.lost_ms for session in sessions),
        incomplete=sum(not session.complete for session in sessions),
        cpu=spent,
    )
    print(step, file=sys.stderr, flush=True)
    return step


def search(counts: Sequence[int], first: int, try_one: Callable[[int], Step]) -> list[Step]:
    """Steps up from `first` until one fails, or down until one succeeds."""
    at = counts.index(first)
    found = [try_one(first)]
    way = 1 if found[0].kept else -1
    while 0 <= at + way < len(counts) and found[-1].kept == found[0].kept:
        at += way
        found.append(try_one(counts[at]))
    return sorted(found, key=lambda step: step.sessions)


def ours(share: int) -> list[Step]:
    """The steps of our cluster: a gateway and two transcribers."""
    with Cluster(transcribers=2, WORKER_SESSIONS="100") as cluster:
        processes = {
            "gateway": [cluster.gateways[0].process.pid],
            "transcribers": [each.process.pid for each in cluster.transcribers],
            "redis": [cluster.redis.pid],
        }
        return search(
            *OURS[share], lambda count: measure([cluster.ports[0]], processes, speech(share), count)
        )


def baseline(share: int) -> list[Step]:
    """The steps of the baseline: one process per core with half of the sessions each."""
    with servers(2) as (ports, pids):
        return search(*THEIRS[share], lambda count: measure(ports, {"servers": pids}, speech(share), count))


def main() -> None:
    """Measure both, and publish the table."""
    share = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    found = {"ours": ours(share), "baseline": baseline(share)}
    best = {
        name: max((step.sessions for step in steps if step.kept), default=0) for name, steps in found.items()
    }
    table = Table(
        f"capacity_{share}",
        f"Live sessions at {share} % speech",
        (
            "who",
            "sessions",
            "final p50 s",
            "final p95 s",
            "lag p95 s",
            "partials/s",
            "lost ms",
            "incomplete",
            "CPU, cores",
        ),
    )
    for name, step in ((name, step) for name, steps in found.items() for step in steps):
        cpu = ", ".join(f"{process} {cores:.2f}" for process, cores in step.cpu.items())
        table.rows.append((name, *list(asdict(step).values())[:5], step.lost_ms, step.incomplete, cpu))
    table.data = {
        "best": best,
        "bar": BAR[share],
        "steps": {k: [asdict(s) for s in v] for k, v in found.items()},
    }
    ratio = best["ours"] / best["baseline"] if best["baseline"] else float("nan")
    table.remarks.append(
        f"{best['ours']} sessions against {best['baseline']} of the baseline: {ratio:.1f} times as many "
        f"(bar: {BAR[share]}"
        f"{', and 3 times' if share == 100 else ''}). The sender runs on the same two cores."
    )
    table.publish()


if __name__ == "__main__":
    main()
