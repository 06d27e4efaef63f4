"""Messages without audio: more than can wait are refused, and what they change is shown."""

import asyncio
import signal

import httpx
import orjson
import pytest
import websockets

from parlando.client import connect
from support.cluster import Cluster
from support.perfect import PERFECT

WAITING = 1000
MORE = 50


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, **PERFECT) as running:
        yield running


async def test_a_thousand_flushes_may_wait_and_more_are_refused_until_they_are_answered(cluster):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?session_id=flood") as socket:
        await socket.recv()
        await socket.send('{"type":"flush"}')
        while orjson.loads(await socket.recv())["type"] != "flushed":
            pass  # a worker owns the session
        cluster.transcribers[0].signal(signal.SIGSTOP)
        for _ in range(WAITING + MORE):
            await socket.send('{"type":"flush"}')
        refused = [orjson.loads(await socket.recv()) for _ in range(MORE)]
        cluster.transcribers[0].signal(signal.SIGCONT)
        flushed = [orjson.loads(await socket.recv()) for _ in range(WAITING)]
        await socket.send('{"type":"flush"}')
        last = orjson.loads(await socket.recv())
        left = cluster.store().xlen("stt:{0}:pcm:flood")
        await socket.send('{"type":"end"}')
        closed = [orjson.loads(await socket.recv()) for _ in range(2)][-1]

    assert {(each["type"], each["code"], each["retryable"]) for each in refused} == {
        ("error", "too_many_controls", True)
    }
    assert [each["type"] for each in flushed] == ["flushed"] * WAITING
    assert last["type"] == "flushed"
    assert left == 0
    assert closed["type"] == "closed"


async def test_a_title_that_changes_is_what_transcripts_and_the_overview_show(cluster):
    async with connect(cluster.url(), title="Old") as session:
        await session.configure(title="New")
        base = f"{cluster.http()}/v1/stt/sessions/{session.id}"
        async with asyncio.timeout(600), httpx.AsyncClient() as client:
            while (await client.get(f"{base}/transcript")).json()["title"] != "New":
                await asyncio.sleep(0.02)
            overview = (await client.get(f"{cluster.http()}/v1/cluster")).json()
        assert [live["title"] for live in overview["your_sessions"] if live["session_id"] == session.id] == [
            "New"
        ]
