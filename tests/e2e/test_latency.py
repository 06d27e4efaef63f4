"""How fast words appear, as a client sees it (see `bench.latency`); the figures are printed."""

import os

import numpy as np

from bench.latency import BARS, measure, quantiles, recordings, words_of
from support.cluster import Cluster


async def test_one_session_is_fast_enough():
    """Ten times the bars is allowed: `make bench` measures on a quiet machine."""
    spoken = recordings(0)[:5]
    ends = [await words_of(pcm) for pcm in spoken]
    with Cluster(transcribers=1) as cluster:
        delays = await measure(cluster.ports[0], spoken, ends)
    first, _, _ = quantiles(delays.first)
    _, final, _ = quantiles(delays.final)
    shown = float(np.mean(delays.shown))
    print(
        f"\none session, {os.cpu_count()} cores: first partial p50 {first:.0f} ms of {len(delays.first)}; "
        f"word shown, mean {shown:.0f} ms of {len(delays.shown)}; "
        f"final p95 {final:.0f} ms of {len(delays.final)}"
    )
    assert first <= BARS["first"][0] * 10
    assert shown <= BARS["shown"] * 10
    assert final <= BARS["final"] * 10
