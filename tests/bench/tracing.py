"""What traces cost: python -m bench.tracing, in tests/. Prints a line for each share of traced sessions.

The CPU time of a span with its export, times the spans that a session of continuous speech makes in a second,
relative to the CPU time of such a session without traces (docs/capacity.md).
"""

import asyncio
import os
import time
from contextlib import contextmanager

from bench.load import loops, talk
from parlando import tracing
from support.cluster import Cluster
from support.otlp import collector
from support.speech import fixture

SPANS = 20_000
SESSIONS = 4
SECONDS = 20
SESSION = 0.0044 + 0.025  # cores: gateway and transcriber
SHARES = (0.05, 1.0)


@contextmanager
def exporting(address: str):
    """Spans are sent to `address`, as in a service."""
    tracing.configure("bench", endpoint=address, share=1)
    yield
    assert tracing._provider is not None
    tracing._provider.force_flush()


def span_seconds(address: str) -> float:
    """The CPU time of one span in seconds, its export included; the collector's part is deducted."""
    with exporting(address), tracing.session("s_bench"):
        started = time.process_time()
        for number in range(SPANS):
            tracing.note("store", 0.001, bytes=640)
            if number % 500 == 0:
                time.sleep(0.2)  # else the exporter's queue would be full
    return (time.process_time() - started) / SPANS


async def spans_per_second(cluster: Cluster) -> None:
    """Have sessions of continuous speech send 20 ms frames."""
    pcm = loops(fixture("two_cities.flac"), SESSIONS, SECONDS)
    await asyncio.gather(*(talk(cluster.ports[0], each) for each in pcm))


def main() -> None:
    """Measure and print."""
    with collector() as received:
        with Cluster(OTEL_EXPORTER_OTLP_ENDPOINT=received.address, OTEL_TRACES_SAMPLER_ARG="1") as cluster:
            asyncio.run(spans_per_second(cluster))
            time.sleep(10)  # the exporters send every 5 s
        rate = len(received.spans) / SESSIONS / SECONDS
    child = os.fork()  # the collector runs in a process of its own, so that its work isn't counted
    if child == 0:
        with collector(42318) as _:
            time.sleep(60)
        os._exit(0)
    time.sleep(1)
    each = span_seconds("http://127.0.0.1:42318")
    os.kill(child, 9)
    print(f"{rate:.1f} spans for a second of speech, {1e6 * each:.0f} µs of CPU time each")
    for share in SHARES:
        more = 100 * share * rate * each / SESSION
        print(f"{100 * share:g} % of the sessions traced: {more:.2f} % more CPU time")


if __name__ == "__main__":
    main()
