"""Jobs when workers die, chunks are poisonous, stores are full, and many come at once."""

import asyncio
import time

import httpx
import numpy as np
import pytest

from parlando.store.keys import chunks, shares
from support.cluster import Cluster
from support.endpoint import served
from support.jobs import events, look, submit, transcribe, wait, wav
from support.perfect import PERFECT, script, silence, speak
from support.pools import POOL
from support.streaming import check_promises, stream


@pytest.fixture(scope="module")
def perfect():
    with Cluster(transcribers=2, processors=1, **PERFECT) as cluster:
        yield cluster


def test_cancelling_stops_a_job_within_a_second_and_removes_everything():
    with Cluster(transcribers=1, processors=1, **PERFECT, PERFECT_DELAY_MS="300") as cluster:
        base = cluster.http()
        job = submit(base, wav(np.concatenate([np.concatenate([speak(8), silence(4)]) for _ in range(40)])))[
            "job_id"
        ]
        while look(base, job)["status"] != "transcribing":
            time.sleep(0.05)
        answer = httpx.delete(f"{base}/v1/stt/jobs/{job}")
        assert answer.json() == {"job_id": job, "status": "cancelled"}
        deadline = time.monotonic() + 60
        store = cluster.store()
        while (
            list(cluster.blobs.rglob("jobs/*")) or store.xlen(chunks(0, POOL)) or store.xlen("stt:{0}:jobs")
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert look(base, job)["status"] == "cancelled"
        assert "result" not in look(base, job)
        assert httpx.get(f"{base}/v1/stt/jobs/{job}/result").status_code == 409
        assert [event["type"] for event in events(base, job)] == ["cancelled"]
        assert httpx.delete(f"{base}/v1/stt/jobs/{job}").json()["status"] == "deleted"
        assert httpx.get(f"{base}/v1/stt/jobs/{job}").status_code == 404
        assert store.hgetall(shares(0, POOL)) == {}


def _long(minutes: float) -> tuple[np.ndarray, list[str]]:
    """Words with pauses of many lengths."""
    rng, parts, said = np.random.default_rng(3), [], []
    while sum(map(len, parts)) < minutes * 60 * 16_000:
        count = int(rng.integers(2, 30))
        parts += [speak(count, first=len(said) % 4000), silence(float(rng.choice([0.1, 0.4, 1.2, 3.5])))]
        said += script(len(said) % 4000, count)
    return np.concatenate(parts), said


def test_killed_workers_change_nothing_in_the_result():
    """SIGKILL of a transcriber and of the audio-processor in the middle: the same segments to the letter."""
    pcm, said = _long(12)
    with Cluster(transcribers=2, processors=1, **PERFECT, PERFECT_DELAY_MS="60", MAX_CHUNKS="8") as cluster:
        base, data = cluster.http(), wav(pcm)
        undisturbed = transcribe(base, data, words="true")
        assert undisturbed["text"].split() == said
        for victims in (cluster.transcribers, cluster.processors, cluster.transcribers):
            job = submit(base, data, words="true")["job_id"]
            while look(base, job)["progress"] < 0.2:
                time.sleep(0.02)
            victims[-1].kill()
            (cluster.add_transcriber if victims is cluster.transcribers else cluster.add_processor)()
            done = wait(base, job)
            assert done["status"] == "completed", done["error"]
            assert done["result"]["segments"] == undisturbed["segments"]
            assert done["result"]["text"] == undisturbed["text"]


def test_a_worker_that_leaves_hands_its_chunks_and_jobs_over():
    pcm, said = _long(6)
    with Cluster(transcribers=2, processors=2, **PERFECT, PERFECT_DELAY_MS="100", MAX_CHUNKS="8") as cluster:
        base = cluster.http()
        job = submit(base, wav(pcm))["job_id"]
        while look(base, job)["progress"] < 0.2:
            time.sleep(0.02)
        assert cluster.transcribers[0].terminate() == 0
        for processor in cluster.processors[:1]:
            assert processor.terminate() == 0
        done = wait(base, job)
        assert done["result"]["text"].split() == said


def test_a_poisonous_chunk_fails_its_job_and_no_other(perfect):
    """The engine raises on one word, each time; the cluster lives on."""
    with Cluster(transcribers=2, processors=1, VAD="rms", STT_ENGINE="support.poison:engine") as cluster:
        base = cluster.http()
        bad = submit(
            base, wav(np.concatenate([speak(3), silence(4), speak(1, first=666), silence(4), speak(3)]))
        )
        good = submit(base, wav(speak(5)))
        done = wait(base, bad["job_id"])
        assert done["status"] == "failed"
        assert done["error"]["code"] == "chunk_failed"
        assert "Chunk 1 failed 3 times: word 666" in done["error"]["message"]
        assert wait(base, good["job_id"])["result"]["text"].split() == script(0, 5)
        assert transcribe(base, wav(speak(4)))["text"].split() == script(0, 4)
        assert all(t.process.poll() is None for t in cluster.transcribers)


def test_a_chunk_that_kills_its_workers_fails_its_job_and_no_other():
    with Cluster(transcribers=1, processors=1, VAD="rms", STT_ENGINE="support.poison:engine") as cluster:
        base = cluster.http()
        bad = submit(base, wav(np.concatenate([speak(3), silence(4), speak(1, first=999)])))["job_id"]
        deadline = time.monotonic() + 60
        while (found := look(base, bad))["status"] not in ("completed", "failed"):
            if cluster.transcribers[-1].process.poll() is not None:
                cluster.add_transcriber()
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        assert found["error"] == {
            "code": "chunk_failed",
            "message": "Chunk 1 failed 3 times: its transcribers terminated",
        }
        assert transcribe(base, wav(speak(4)))["text"].split() == script(0, 4)


def test_several_partitions_and_gateways(perfect):
    """Jobs lie in all partitions; any gateway knows them all, in the order in which they were submitted."""
    with Cluster(gateways=2, transcribers=2, processors=2, PARTITIONS="3", **PERFECT) as cluster:
        jobs: list[str] = []
        while len(jobs) < 8 or (_partitions(cluster) != {"{0}", "{1}", "{2}"} and len(jobs) < 50):
            number = len(jobs)
            jobs.append(submit(cluster.http(number % 2), wav(speak(3 + number % 8)))["job_id"])
        for number, job in enumerate(jobs):
            assert wait(cluster.http(1), job)["result"]["text"].split() == script(0, 3 + number % 8)
        pages = [httpx.get(f"{cluster.http()}/v1/stt/jobs", params={"limit": 5}).json()]
        after = {"before": pages[0]["next"], "limit": 100}
        pages.append(httpx.get(f"{cluster.http(1)}/v1/stt/jobs", params=after).json())
        assert [job["job_id"] for page in pages for job in page["jobs"]] == jobs[::-1]
        assert _partitions(cluster) == {"{0}", "{1}", "{2}"}


def _partitions(cluster: Cluster) -> set[str]:
    """Those in which a job lies."""
    return {key.split(":")[1] for key in cluster.store().keys("stt:*:job:*")}


def test_redis_without_memory_stops_jobs_but_loses_none(perfect):
    pcm, said = _long(3)
    base, store = perfect.http(), perfect.store()
    job = submit(base, wav(pcm))["job_id"]
    store.config_set("maxmemory", 1)
    try:
        time.sleep(2)
        refused = httpx.post(f"{base}/v1/stt/jobs", files={"file": wav(speak(1))}, timeout=600)
        assert refused.status_code == 503
        assert "out of memory" in refused.json()["detail"]
        assert perfect.health()["status"] == "healthy"
    finally:
        store.config_set("maxmemory", 0)
    assert wait(base, job)["result"]["text"].split() == said


def test_a_full_blob_store_is_said_and_the_cluster_lives_on(tmp_path):
    with (
        served(lambda number, body: (507, {}, b"")) as s3,
        Cluster(
            processors=1,
            **PERFECT,
            BLOB_URL="s3://audio",
            BLOB_ENDPOINT=s3.url,
            BLOB_ACCESS_KEY_ID="k",
            BLOB_SECRET_ACCESS_KEY="s",
        ) as cluster,
    ):
        answer = httpx.post(f"{cluster.http()}/v1/stt/jobs", files={"file": wav(speak(1))}, timeout=600)
        assert answer.status_code == 507
        assert answer.json()["code"] == "storage_unavailable"
        assert cluster.health()["status"] == "healthy"


def test_two_hundred_jobs_at_once_are_fair_and_starve_nobody(perfect):
    """190 of one key, then 10 of another, done long before those; a live session goes on meanwhile."""
    with Cluster(
        transcribers=2, processors=1, API_KEYS="greedy,modest", **PERFECT, PERFECT_DELAY_MS="20"
    ) as cluster:
        base = cluster.http()
        data = wav(np.concatenate([speak(20), silence(1)]))
        ended: dict[str, float] = {}

        async def one(client: httpx.AsyncClient, key: str) -> tuple[str, float]:
            headers = {"Authorization": f"Bearer {key}"}
            answer = await client.post(f"{base}/v1/stt/jobs", files={"file": data}, headers=headers)
            url = answer.json()["status_url"]
            while True:
                found = (await client.get(url, headers=headers)).json()
                if found["status"] == "completed":
                    assert found["result"]["text"].split() == script(0, 20)
                    return key, time.monotonic()
                assert found["status"] not in ("failed", "cancelled"), found
                await asyncio.sleep(0.5)

        async def all_jobs():
            limits = httpx.Limits(max_connections=40)
            async with httpx.AsyncClient(timeout=120, limits=limits) as client:
                greedy = [asyncio.create_task(one(client, "greedy")) for _ in range(190)]
                await asyncio.sleep(1)
                modest = [asyncio.create_task(one(client, "modest")) for _ in range(10)]
                live = asyncio.create_task(
                    stream(
                        cluster.url(), np.concatenate([speak(20), silence(1)]), frame_ms=100, api_key="modest"
                    )
                )
                results = await asyncio.gather(*greedy, *modest)
                return results, await live

        results, heard = asyncio.run(all_jobs())
        check_promises(heard)
        assert heard.text.split() == script(0, 20)
        ended = {key: sorted(at for k, at in results if k == key) for key in ("greedy", "modest")}
        assert len(ended["greedy"]) == 190
        assert ended["modest"][-1] < ended["greedy"][100]
