"""How many live sessions two cores take, ours and the peers' policy: python -m bench.capacity [100|50]

Sessions of real speech, each beginning elsewhere in the recording, in steps until finals come too late
(p95 more than a second past the endpoint) or anything is lost.
"""

import asyncio
import sys
from dataclasses import asdict, dataclass

import numpy as np
import psutil

from bench.load import RATE, Session, loops, talk
from bench.peers import servers
from bench.results import Table
from support.cluster import Cluster
from support.speech import fixture

SECONDS = 25
ENDPOINT_S = 0.5
LATE_S = 1.0  # past the endpoint
STEPS = {100: (24, 36, 44, 48), 50: (40, 56, 72, 80)}
BASELINE_STEPS = {100: (8, 10, 12, 14), 50: (16, 20, 24, 28)}
BAR = {100: 24, 50: 40}


@dataclass
class Step:
    """What a number of sessions got."""

    sessions: int
    final_p50: float
    final_p95: float
    lag_p95: float
    partials: float  # a second and session
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
    """Run `count` sessions and look at what they got."""

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
    return Step(
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


def ours(share: int, steps: tuple[int, ...]) -> list[Step]:
    """Our cluster: a gateway, two transcribers."""
    found = []
    with Cluster(transcribers=2, WORKER_SESSIONS="40") as cluster:
        processes = {
            "gateway": [cluster.gateways[0].process.pid],
            "transcribers": [each.process.pid for each in cluster.transcribers],
            "redis": [cluster.redis.pid],
        }
        for count in steps:
            found.append(measure([cluster.ports[0]], processes, speech(share), count))
            print(found[-1], file=sys.stderr, flush=True)
            if not found[-1].kept:
                break
    return found


def baseline(share: int, steps: tuple[int, ...]) -> list[Step]:
    """The peers' policy: one process per core, half of the sessions each."""
    found = []
    with servers(2) as (ports, pids):
        for count in steps:
            found.append(measure(ports, {"servers": pids}, speech(share), count))
            print(found[-1], file=sys.stderr, flush=True)
            if not found[-1].kept:
                break
    return found


def main() -> None:
    """Measure both, and publish the table."""
    share = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    found = {"ours": ours(share, STEPS[share]), "baseline": baseline(share, BASELINE_STEPS[share])}
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
        f"(bar: {BAR[share]}, and 3 times). The sender runs on the same two cores."
    )
    table.publish()


if __name__ == "__main__":
    main()
