"""The interruption of a transcript when its transcriber is killed: python -m bench.failover"""

import asyncio
import time

import numpy as np

from bench.results import Table
from parlando.client import connect
from support.cluster import Cluster
from support.speech import fixture
from support.streaming import send

KILLS = 10
BAR_S = 5.0


async def once(cluster: Cluster) -> float:
    """Seconds from SIGKILL of a session's owner to the next event about its speech."""
    pcm = np.tile(fixture("two_cities.flac"), 2)
    async with connect(cluster.url()) as session:
        sending = asyncio.create_task(send(session, pcm, frame_ms=40))
        killed = 0.0
        async for event in session:
            if not killed and event["type"] == "partial" and (owner := cluster.owner(session.id)):
                owner.kill()
                killed = time.monotonic()
                cluster.add_transcriber()
            elif killed and event["type"] in ("partial", "final") and time.monotonic() - killed > 0.2:
                sending.cancel()
                return time.monotonic() - killed
    raise AssertionError("the session ended before")


def main() -> None:
    """Measure, and publish the table."""
    with Cluster(transcribers=2) as cluster:
        took = []
        for _ in range(KILLS):
            took.append(asyncio.run(once(cluster)))
            time.sleep(1)
    p50, p95 = (float(np.quantile(took, q)) for q in (0.5, 0.95))
    table = Table(
        "failover", "SIGKILL of a transcriber until words come again", ("kills", "p50 s", "p95 s", "bar s")
    )
    table.rows = [(KILLS, p50, p95, BAR_S)]
    table.data = {"p50": p50, "p95": p95}
    table.remarks.append(
        "A session's owner is taken for dead when its lease hasn't been renewed for 0.7 s and its connection "
        "to Redis has ended. The baseline has no answer to this: its sessions are gone."
    )
    table.publish()


if __name__ == "__main__":
    main()
