"""What other services' protocols add to the latency of finals: python -m bench.doors [rounds]

The same clip in real time, by each protocol and by the native one in turn, with the drivers of `parlando
conform`. The times of finals, from the first frame on, are compared by their quantiles. Protocols that have
one final, at the end, are compared with the native session's last final.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from bench.results import Table
from bench.traces import quantile
from parlando.cli.conform.drivers.base import Driver, Target
from parlando.cli.conform.drivers.table import DRIVERS
from parlando.cli.conform.received import Received, Utterance
from parlando.cli.conform.run import load
from support.cluster import Cluster
from support.ports import free_port

ROUNDS = 10
BAR_MS = 10.0


class TimedFinals(list[str]):
    """Final texts, and when each came."""

    def __init__(self, times: list[float]) -> None:
        super().__init__()
        self._times = times

    def append(self, text: str) -> None:
        self._times.append(asyncio.get_running_loop().time())
        super().append(text)


class TimedReceived(Received):
    """Notes the times of finals with text, in `times`."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def utterance(self, name: object) -> Utterance:
        return self.utterances.setdefault(str(name), Utterance(finals=TimedFinals(self.times)))


async def finals(driver: Driver, clip: np.ndarray) -> list[float]:
    """Seconds from the first frame to each final."""
    received = driver.received = TimedReceived()
    started: list[float] = []
    paced = driver.paced

    async def timed(*args: Any, **options: Any) -> AsyncIterator[bytes]:
        started.append(asyncio.get_running_loop().time())
        async for frame in paced(*args, **options):
            yield frame

    driver.paced = timed  # type: ignore[method-assign]
    await driver.transcribe(clip)
    return [at - started[0] for at in received.times]


async def measure(http: str, tcp: str, rounds: int) -> dict[str, list[list[float]]]:
    """The times of the finals of each round, by protocol."""
    clip = load(None)
    found: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(rounds):
        for name, driver in DRIVERS.items():
            target = Target(tcp if name == "wyoming" else http, None)
            found[name].append(await finals(driver(target), clip))
    return found


def added_ms(theirs: list[list[float]], native: list[list[float]], share: float) -> float:
    """The greatest difference of a quantile of the times of a final, in ms.

    The finals are compared from the last one backwards, as many as both have in all rounds.
    """
    count = min(len(each) for each in (*theirs, *native))
    differences = []
    for back in range(1, count + 1):
        here, there = (quantile([each[-back] for each in times], share) for times in (theirs, native))
        assert here is not None
        assert there is not None
        differences.append(1000 * (here - there))
    return max(differences, default=float("nan"))


def main() -> None:
    """Measure, and publish the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    port = free_port()
    with Cluster(transcribers=1, processors=1, WYOMING_PORT=str(port)) as cluster:
        found = asyncio.run(measure(cluster.http(), f"tcp://127.0.0.1:{port}", rounds))
    native = found.pop("native")
    table = Table(
        "doors",
        "What other protocols add to the latency of finals",
        ("protocol", "finals", "added, median, ms", "added, p95, ms"),
    )
    for name, times in found.items():
        table.rows.append(
            (name, sum(map(len, times)), added_ms(times, native, 0.5), added_ms(times, native, 0.95))
        )
    table.remarks += [
        f"{rounds} rounds of a clip of 11 s. Each value is the greatest of the clip's finals: the quantile "
        f"of its time by the protocol minus that by the native one (bar: {BAR_MS:.0f} ms at p95). "
        "The sender runs on the same cores.",
        "A client of Vosk gets one answer to each of its messages, here of 100 ms: "
        "a final waits for the next one.",
    ]
    table.data = {"times": {**found, "native": native}}
    table.publish()


if __name__ == "__main__":
    main()
