"""Two owners of API keys compete for the places of a cluster."""

import asyncio
import json

import pytest
import websockets

from support.cluster import Cluster
from support.perfect import PERFECT, speak

PLACES = 4


@pytest.fixture(scope="module")
def cluster():
    settings = {"API_KEYS": "alpha,beta", "WORKER_SESSIONS": str(PLACES), "SHARE_RECLAIM_S": "0.5"}
    with Cluster(transcribers=1, **settings, **PERFECT) as running:
        yield running


def opening(cluster, key: str) -> websockets.connect:
    return websockets.connect(f"{cluster.url()}/v1/stt/stream", additional_headers={"X-API-Key": key})


async def first_of(socket) -> dict:
    return json.loads(await socket.recv())


async def test_lent_places_are_given_back_and_no_word_is_lost(cluster):
    """One owner has all places and speaks; another one gets half of them. The words sent are transcribed."""
    mine = []
    for number in range(PLACES):
        socket = await opening(cluster, "alpha")
        assert (await first_of(socket))["type"] == "connected"
        await socket.send(speak(6, first=100 * number).tobytes())
        mine.append(socket)

    theirs = []
    async with asyncio.timeout(120):
        while len(theirs) < PLACES // 2:
            socket = await opening(cluster, "beta")
            first = await first_of(socket)
            if first["type"] == "connected":
                theirs.append(socket)
                continue
            assert (first["type"], first["code"], first["retry_after"]) == ("error", "at_capacity", 5)
            await socket.wait_closed()
            await asyncio.sleep(0.3)

    for number, socket in enumerate(mine[PLACES // 2 :], PLACES // 2):
        events = []
        with pytest.raises(websockets.ConnectionClosedError):
            while True:
                events.append(json.loads(await socket.recv()))
        assert socket.close_code == 1013
        said = " ".join(event["text"] for event in events if event["type"] == "final")
        assert said.split() == [f"w{word:04d}" for word in range(100 * number, 100 * number + 6)]
        [error] = [event for event in events if event["type"] == "error"]
        assert (error["code"], error["retryable"]) == ("at_capacity", True)
        assert events[-1]["type"] == "closed"
        assert events[-1]["reason"] == "place_reclaimed"

    async with opening(cluster, "alpha") as socket:
        first = await first_of(socket)
        assert first["code"] == "at_capacity", "all places are taken"
    for socket in [*mine[: PLACES // 2], *theirs]:
        await socket.send(json.dumps({"type": "end"}))
        async for message in socket:
            last = json.loads(message)
        assert last["type"] == "closed"
        assert last["reason"] == "end"
