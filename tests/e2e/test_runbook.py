"""The procedures of docs/operations.md (Runbook), done to real clusters while they work."""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import numpy as np
import redis as redis_client

from parlando.client import KeysClient, connect
from parlando.embedded.redis_server import command
from support.cluster import Cluster
from support.jobs import submit, wait, wav
from support.perfect import PERFECT, script, silence, speak
from support.redis_server import RedisServer
from support.streaming import Heard, check_promises

SESSIONS = 4
WORDS_AT_A_TIME = 5


async def talk_until(stop: asyncio.Event, urls: list[str], **options: str) -> tuple[Heard, int]:
    """A session that speaks until `stop`. Returns what it heard, and how many words it has said."""
    heard, said = Heard(), 0
    async with asyncio.timeout(800), connect(urls, give_up_s=600, **options) as session:
        heard.session = session

        async def talk() -> None:
            nonlocal said
            while not stop.is_set():
                pcm = np.r_[speak(WORDS_AT_A_TIME, first=said), silence(0.7)]
                for frame in np.split(pcm, 20):
                    await session.send(frame.tobytes())
                    await asyncio.sleep(len(frame) / 16_000)
                said += WORDS_AT_A_TIME
            await session.end()

        talking = asyncio.create_task(talk())
        async for event in session:
            heard.events.append(event)
        await talking
    return heard, said


# --- backup and restore -----------------------------------------------------------------------------


def back_up(server: RedisServer, copy: Path) -> None:
    """As the runbook says: have Redis write a snapshot, and copy it when it is complete."""
    client = redis_client.Redis.from_url(server.url)
    before = client.lastsave()
    time.sleep(1.1)  # the time of the last snapshot has whole seconds
    client.bgsave()
    while client.lastsave() == before:
        time.sleep(0.05)
    shutil.copy(server.folder / "dump.rdb", copy)


def restore(server: RedisServer, copy: Path) -> None:
    """As the runbook says: start once without the append-only file, and have it written from the snapshot."""
    for each in server.folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    shutil.copy(copy, server.folder / "dump.rdb")
    once = command(server.port, directory=server.folder, durable=False)
    process = subprocess.Popen(once, stdout=subprocess.DEVNULL)
    client = redis_client.Redis.from_url(server.url)
    while True:
        try:
            client.ping()
            break
        except redis_client.ConnectionError:
            time.sleep(0.02)
    client.config_set("appendonly", "yes")
    while client.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(0.02)
    process.terminate()
    process.wait(60)
    server.start()


async def test_a_backup_brings_back_keys_jobs_and_transcripts_and_open_sessions_lose_no_word(tmp_path):
    """What came after the backup is lost, but its client has each word of an open session.

    The session's transcript in Redis lacks the finals that the client had received in between.
    """
    server = RedisServer(durable=True)
    with Cluster(redis=server, processors=1, API_KEYS="one", **PERFECT) as cluster:
        headers = {"Authorization": "Bearer one"}
        async with KeysClient(cluster.http(), api_key="one") as keys:
            made = await keys.create("tablet", scopes=["read", "live"])
        job = submit(cluster.http(), wav(speak(4)), key="one")["job_id"]
        await asyncio.to_thread(wait, cluster.http(), job, key="one")
        stop = asyncio.Event()
        speaking = asyncio.create_task(talk_until(stop, [cluster.url()], api_key="one", session_id="open"))
        store = cluster.store()
        while not int(store.hget("stt:{0}:session:open", "segments") or 0):
            await asyncio.sleep(0.1)
        await asyncio.to_thread(back_up, server, tmp_path / "dump.rdb")
        segments = int(store.hget("stt:{0}:session:open", "segments"))
        while int(store.hget("stt:{0}:session:open", "segments")) < segments + 2:
            await asyncio.sleep(0.1)
        later = submit(cluster.http(), wav(speak(4)), key="one")["job_id"]
        killed_at = int(store.hget("stt:{0}:session:open", "segments"))
        server.kill()
        await asyncio.to_thread(restore, server, tmp_path / "dump.rdb")
        while int(store.hget("stt:{0}:session:open", "segments") or 0) < killed_at + 2:
            await asyncio.sleep(0.1)  # something is said after it
        stop.set()
        heard, said = await speaking
        check_promises(heard)
        assert heard.words == script(0, said)
        found = await asyncio.to_thread(wait, cluster.http(), job, key="one")
        assert found["result"]["text"].split() == script(0, 4)
        answer = httpx.get(f"{cluster.http()}/v1/stt/jobs/{later}", headers=headers)
        assert answer.status_code == 404
        own = {"Authorization": f"Bearer {made['key']}"}
        answer = httpx.get(f"{cluster.http()}/v1/stt/sessions/open/transcript", headers=own)
        stored = answer.json()["text"].split()
        assert stored == sorted(set(stored)), "once, in order"
        assert {*script(0, WORDS_AT_A_TIME), *script(said - WORDS_AT_A_TIME, WORDS_AT_A_TIME)} <= {*stored}
        assert redis_client.Redis.from_url(server.url).config_get("appendonly") == {"appendonly": "yes"}


# --- rolling restart --------------------------------------------------------------------------------


async def test_every_process_is_replaced_while_sessions_speak_and_no_word_is_lost():
    """One process after the other, as in an update: SIGTERM, and the next one when its successor is ready."""
    with Cluster(gateways=2, transcribers=2, processors=2, recognizers=1, **PERFECT) as cluster:
        stop = asyncio.Event()
        urls = [cluster.url(0), cluster.url(1)]
        speaking = [
            asyncio.create_task(talk_until(stop, urls if number % 2 else urls[::-1]))
            for number in range(SESSIONS)
        ]
        job = submit(cluster.http(1), wav(np.r_[speak(20), silence(60), speak(20, first=20)]))["job_id"]
        await asyncio.sleep(2)
        for gateway in range(2):
            assert await asyncio.to_thread(cluster.gateways[gateway].terminate, 60) == 0
            cluster.restart_gateway(gateway)
            await asyncio.to_thread(cluster.wait_ready, 2, 2, 1, timeout=300)
        kinds = [
            (cluster.transcribers, cluster.add_transcriber),
            (cluster.processors, cluster.add_processor),
            (cluster.recognizers, cluster.add_recognizer),
        ]
        for processes, add in kinds:
            for process in list(processes):
                add()
                await asyncio.to_thread(alive, cluster)
                assert await asyncio.to_thread(process.terminate, 60) == 0
                processes.remove(process)
                await asyncio.to_thread(alive, cluster)
        await asyncio.sleep(2)
        stop.set()
        for heard, said in await asyncio.gather(*speaking):
            check_promises(heard)
            assert heard.words == script(0, said)
            assert said > WORDS_AT_A_TIME
        found = await asyncio.to_thread(wait, cluster.http(), job)
        assert found["result"]["text"].split() == script(0, 40)


def alive(cluster: Cluster) -> None:
    """Wait until the cluster reports as many workers of each kind as run."""
    counts = (len(cluster.transcribers), len(cluster.processors), len(cluster.recognizers))
    cluster.wait_ready(*counts, timeout=300)
