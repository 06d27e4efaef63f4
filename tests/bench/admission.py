"""Admission beyond the capacity: python -m bench.admission

More sessions of continuous speech are opened one by one than two cores can decode; the workers report their
measured capacity. Refused sessions must receive 1013 at once; the accepted ones must not be affected.
"""

import asyncio

import numpy as np

from bench.load import RATE, Session, loops, talk
from bench.results import Table
from support.cluster import Cluster
from support.speech import fixture

OFFERED = 80
EVERY_S = 0.75
SECONDS = 30
BAR_S = 1.5


async def offer(port: int) -> list[Session]:
    """Open all sessions, one by one."""
    length = OFFERED * EVERY_S + SECONDS
    pieces = loops(fixture("two_cities.flac"), OFFERED, length)
    ends = [int((length - n * EVERY_S) * RATE) for n in range(OFFERED)]
    coming = [
        talk(port, piece[:end], delay=n * EVERY_S)
        for n, (piece, end) in enumerate(zip(pieces, ends, strict=True))
    ]
    return await asyncio.gather(*coming)


def main() -> None:
    """Measure, and publish the table."""
    with Cluster(transcribers=2, WORKER_SESSIONS="0") as cluster:
        sessions = asyncio.run(offer(cluster.ports[0]))
    taken = [session for session in sessions if not session.refused]
    refused = [session.refused for session in sessions if session.refused]
    delays = [delay for session in taken for delay in session.final_delays()]
    lost = sum(session.lost_ms for session in taken), sum(not session.complete for session in taken)
    first = next((n for n, session in enumerate(sessions) if session.refused), None)
    table = Table("admission", f"{OFFERED} sessions come, more than fit", ("what", "figure", "bar"))
    table.rows = [
        ("taken", len(taken), None),
        ("refused, with 1013", len(refused), None),
        ("the first one refused was number", None if first is None else first + 1, None),
        ("finals' delay of those taken, p95, s", float(np.quantile(delays, 0.95)), BAR_S),
        ("… ms lost, sessions cut short", f"{lost[0]}, {lost[1]}", "0, 0"),
    ]
    table.data = {"taken": len(taken), "p95": float(np.quantile(delays, 0.95)), "codes": sorted(set(refused))}
    table.publish()


if __name__ == "__main__":
    main()
