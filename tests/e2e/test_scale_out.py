"""Many of everything, on a Redis Cluster of three, and on a Redis that fails over."""

import asyncio

import httpx
import numpy as np

from parlando.client import connect
from support.cluster import Cluster
from support.encoding import RECIPES, encoded
from support.jobs import submit, wait
from support.perfect import PERFECT, script, silence, speak
from support.redis_topologies import RedisClusterServers, SentinelServers
from support.speech import FIXTURES
from support.streaming import check_promises, stream


def said(number: int) -> np.ndarray:
    return np.concatenate([speak(6, first=100 * number), silence(0.8), speak(6, first=100 * number + 6)])


async def test_sessions_of_all_partitions_on_three_redises():
    with Cluster(
        gateways=2,
        transcribers=3,
        processors=2,
        redis=RedisClusterServers(),
        PARTITIONS="12",
        **PERFECT,
    ) as cluster:
        urls = [cluster.url(0), cluster.url(1)]
        await asyncio.sleep(1)
        heard = await asyncio.gather(
            *(stream(urls[n % 2], said(n), speed=1, frame_ms=40) for n in range(16)),
            *(stream(urls[n % 2], np.repeat(said(n), 2), speed=None, channels=2) for n in range(16, 20)),
            kill_one(cluster),
        )
        for number, session in enumerate(heard[:-1]):
            check_promises(session)
            assert session.words == script(100 * number, 12), number
        nodes = {cluster.redis.client().keyslot(f"{{{n}}}") * 3 // 16_384 for n in range(12)}
        assert nodes == {0, 1, 2}, "the partitions lie on all three"
        total = httpx.get(f"{cluster.http(1)}/v1/cluster").json()
        assert len(total["gateways"]) == len(total["audio_processors"]) == 2


async def kill_one(cluster) -> None:
    await asyncio.sleep(3)
    cluster.transcribers[0].kill()


async def test_moonshine_files_viewers_and_users_on_three_redises():
    with Cluster(processors=1, redis=RedisClusterServers(), PARTITIONS="4") as cluster:
        jfk = FIXTURES / "speech" / "jfk.flac"
        jobs = [submit(cluster.http(), jfk)["job_id"] for _ in range(8)]
        async with connect(cluster.url(), **dict(RECIPES["webm_opus"].query)) as session:
            sending = asyncio.create_task(session.send(encoded(jfk, "webm_opus")))
            viewer = httpx.post(
                f"{cluster.http()}/v1/stt/sessions/{session.id or await named(session)}/viewers"
            )
            await sending
            await session.end()
            text = " ".join([event["text"] async for event in session if event["type"] == "final"])
        assert "country" in text
        url = f"{cluster.http()}/v1/stt/sessions/{session.id}/transcript"
        assert "country" in httpx.get(url, params={"token": viewer.json()["token"], "format": "srt"}).text
        for job in jobs:
            done = await asyncio.to_thread(wait, cluster.http(), job)
            assert "ask not what your country can do for you" in done["result"]["text"]
        answer = httpx.post(
            f"{cluster.http()}/streaming", params={"uid": "u1", "sample_rate": 16_000}, content=bytes(64_000)
        )
        assert answer.status_code == 200
        assert httpx.get(f"{cluster.http()}/stats").status_code == 200


async def named(session) -> str:
    while not session.id:
        await asyncio.sleep(0.01)
    return session.id


async def test_a_failover_loses_no_word():
    servers = SentinelServers()
    with Cluster(transcribers=2, processors=1, redis=servers, **PERFECT) as cluster:
        pcm = np.concatenate([np.r_[speak(6, first=6 * n), silence(0.7)] for n in range(7)])

        async def fail() -> None:
            await asyncio.sleep(6)
            servers.kill(servers.master)

        urls = cluster.url()
        heard, *_ = await asyncio.gather(
            asyncio.gather(*(late(urls, pcm, 0.37 * n) for n in range(6))),
            fail(),
        )
        for session in heard:
            check_promises(session)
            assert session.words == script(0, 42)
            assert not session.of("status") or all(s["status"] != "lost" for s in session.of("status"))
        assert cluster.health()["status"] == "healthy"
        again = await stream(urls, said(3), speed=None)
        assert again.words == script(300, 12)


async def late(url: str, pcm: np.ndarray, delay: float):
    await asyncio.sleep(delay)
    return await stream(url, pcm, speed=1, frame_ms=40)
