"""SIGKILL of the gateway while a client sends: it sees a broken connection, and a new one works."""

import numpy as np
import pytest
import websockets

from support import dialects
from support.cluster import Cluster
from support.doors import SPOKEN, WORDS, frames
from support.perfect import PERFECT
from support.ports import free_port


@pytest.fixture(scope="module")
def cluster():
    port = free_port()
    with Cluster(transcribers=1, WYOMING_PORT=str(port), **PERFECT) as cluster:
        cluster.wyoming_port = port
        yield cluster


@pytest.mark.parametrize("door", sorted(dialects.LIVE))
async def test_a_client_of_a_killed_gateway_sees_a_broken_connection(cluster, door, monkeypatch):
    def dying(pcm: np.ndarray):
        """Half of the frames, then the rest to a dead gateway."""
        pieces = frames(pcm)
        yield from pieces[: len(pieces) // 2]
        cluster.gateways[0].kill()
        yield from pieces[len(pieces) // 2 :]

    with monkeypatch.context() as patch:
        patch.setattr(dialects, "frames", dying)
        # Wyoming's client reads an empty line, which is no JSON, or gets a reset.
        with pytest.raises((websockets.ConnectionClosedError, OSError, ValueError)):
            await dialects.LIVE[door](cluster, SPOKEN, "en")
    cluster.restart_gateway()
    cluster.wait_ready(1)
    assert (await dialects.LIVE[door](cluster, SPOKEN, "en")).split() == WORDS
