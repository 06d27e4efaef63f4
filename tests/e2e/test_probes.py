"""/ready and /health while Redis doesn't answer."""

import asyncio
import os
import signal

import httpx
import pytest

from support.cluster import Cluster

PROBES = 12
SOON_S = 12.0  # for all of them together: each takes a second, and used to take 8 s behind those before it


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=0) as cluster:
        yield cluster


async def _probe(cluster) -> list[httpx.Response]:
    async with httpx.AsyncClient(timeout=600) as client:
        paths = ["/ready", "/health"] * (PROBES // 2)
        return await asyncio.gather(*(client.get(cluster.http() + path) for path in paths))


async def _redis(cluster) -> str:
    return (await _probe(cluster))[1].json()["services"]["redis"]


@pytest.mark.parametrize("stopped", [False, True], ids=["refuses connections", "hangs"])
async def test_probes_answer_at_once_however_many_ask(cluster, stopped):
    if stopped:
        os.kill(cluster.redis.pid, signal.SIGSTOP)
    else:
        cluster.redis.kill()
    try:
        while await _redis(cluster) != "unreachable":  # what was seen last is good for a second
            await asyncio.sleep(0.1)
        async with asyncio.timeout(SOON_S):
            answers = await _probe(cluster)
    finally:
        if stopped:
            os.kill(cluster.redis.pid, signal.SIGCONT)
        else:
            cluster.redis.start()
    assert [answer.status_code for answer in answers] == [503, 200] * (PROBES // 2)
    assert {answer.json()["services"]["redis"] for answer in answers} == {"unreachable"}
    while await _redis(cluster) != "connected":  # it recovers by itself
        await asyncio.sleep(0.1)
