"""A thousand inputs for each front door of the gateway; `make bench-full` sends ten thousand."""

import os

import pytest

from support import fuzz, fuzz_http, fuzz_websocket
from support.cluster import Cluster

SEED = int(os.environ.get("FUZZ_SEED", "1"))
INPUTS = 1000


@pytest.mark.parametrize("door", [fuzz_http, fuzz_websocket], ids=["HTTP", "WebSocket"])
async def test_whatever_is_sent_is_answered_and_leaves_nothing(door):
    with Cluster(processors=1, **{**fuzz.ENVIRONMENT, **door.ENVIRONMENT}) as cluster:
        wrong = await fuzz.attack(cluster.ports[0], door.attack, SEED, range(INPUTS // 2))
        before = fuzz.memory_mb(cluster)
        wrong += await fuzz.attack(cluster.ports[0], door.attack, SEED, range(INPUTS // 2, INPUTS))
        assert wrong == []
        assert fuzz.log_faults(cluster) == []
        left = await fuzz.settled(cluster)
        assert set(left.values()) == {0}, left
        assert fuzz.memory_mb(cluster) - before < 40
