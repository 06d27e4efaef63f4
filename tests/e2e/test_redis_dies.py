"""SIGKILL of Redis in the middle of live sessions and jobs: no word of a session is lost."""

import asyncio
from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
import soundfile

from parlando.client import ClientError, JobsClient, connect
from parlando.client.http import follow
from support.cluster import Cluster
from support.jobs import submit, wait
from support.perfect import PERFECT, script, silence, speak
from support.redis_server import RedisServer
from support.streaming import RATE, Heard, check_promises

WORDS = 72
SPEED = 4.0
KILL_AFTER_S = 0.5  # when each session has a final
AGAIN_AFTER_S = 1.5  # in the middle of sending again
VIEWER_PATIENCE_S = 300.0
SETTINGS = {**PERFECT, "STALL_FLUSH_S": "300"}
"""A machine that is too slow for the senders must not divide the segments differently in the second run."""


def speech() -> np.ndarray:
    """40 s with a pause behind every nine words, a stretch without any, and seven seconds of silence."""
    parts = [np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(3)]
    parts += [silence(7), speak(27, first=27), silence(0.7)]
    parts += [np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(6, 8)]
    return np.concatenate(parts)


def contained(pcm: np.ndarray, form: str) -> bytes:
    file = BytesIO()
    soundfile.write(file, pcm, RATE, format=form, subtype="PCM_16")
    return file.getvalue()


PCM = speech()
FLOATS = (PCM / np.float32(32768)).astype("<f4")
FORMATS: dict[str, tuple[bytes, dict]] = {
    "s16": (PCM.tobytes(), {}),
    "s16 again": (PCM.tobytes(), {}),
    "s16 with word times": (PCM.tobytes(), {"words": True}),
    "f32": (FLOATS.tobytes(), {"encoding": "pcm_f32le"}),
    "stereo": (np.repeat(PCM, 2).tobytes(), {"channels": 2}),
    "f32 stereo": (np.repeat(FLOATS, 2).tobytes(), {"encoding": "pcm_f32le", "channels": 2}),
    "wav": (contained(PCM, "WAV"), {"encoding": "container"}),
    "flac": (contained(PCM, "FLAC"), {"encoding": "container"}),
}


async def live(cluster: Cluster, name: str) -> Heard:
    """One format's session, in 40 s / SPEED."""
    data, options = FORMATS[name]
    heard, pieces = Heard(), 200
    step = -(-len(data) // pieces)
    step += -step % 8
    async with asyncio.timeout(600), connect(cluster.url(), **options) as session:
        heard.session = session

        async def talk() -> None:
            for at in range(0, len(data), step):
                await session.send(data[at : at + step])
                await asyncio.sleep(len(PCM) / RATE / SPEED / pieces)
            await session.end()

        talking = asyncio.create_task(talk())
        async for event in session:
            heard.events.append(event)
        await talking
    return heard


def told(heard: Heard) -> list[tuple]:
    """What must not change."""
    return [(final["segment"], final["text"], final["start"], final["end"]) for final in heard.finals]


async def killed_in_the_middle(cluster: Cluster) -> tuple[dict[str, Heard], list[str], list[dict]]:
    """Eight sessions and five jobs, and Redis' death; the sessions, the jobs' ids, what a viewer got."""
    running = [asyncio.create_task(live(cluster, name)) for name in FORMATS]
    store = cluster.store()

    def halfway() -> list[str]:
        keys = [key for key in store.scan_iter("stt:{0}:session:*") if store.hget(key, "state") == "open"]
        return [key.rpartition(":")[2] for key in keys if int(store.hget(key, "segments")) > 0]

    while len(halfway()) < len(FORMATS):
        await asyncio.sleep(0.05)
    follows = asyncio.Event()
    watching = asyncio.create_task(watch(cluster, halfway()[0], follows))
    await follows.wait()
    jobs = [submit(cluster.http(), contained(PCM, "WAV"))["job_id"] for _ in range(5)]
    await asyncio.sleep(KILL_AFTER_S)
    cluster.redis.kill()
    cluster.redis.start()
    await asyncio.sleep(AGAIN_AFTER_S)
    cluster.redis.kill()
    cluster.redis.start()
    sessions = dict(zip(FORMATS, await asyncio.gather(*running), strict=True))
    return sessions, jobs, await watching


async def watch(cluster: Cluster, sid: str, follows: asyncio.Event) -> list[dict]:
    """The finals that somebody sees who follows a session. `follows` is set with the first event."""
    url = f"{cluster.http()}/v1/stt/sessions/{sid}/events"
    events = []
    async with httpx.AsyncClient(timeout=600) as client:
        async for event in follow(client, url, patience_s=VIEWER_PATIENCE_S):
            follows.set()
            if event["type"] == "final":
                events.append(event)
            elif event["type"] == "closed":
                return events
    raise AssertionError("unreachable")


async def undisturbed(cluster: Cluster) -> dict[str, list[tuple]]:
    heard = await asyncio.gather(*(live(cluster, name) for name in FORMATS))
    return {name: told(one) for name, one in zip(FORMATS, heard, strict=True)}


def check(sessions: dict[str, Heard], expected: dict[str, list[tuple]]) -> None:
    for name, heard in sessions.items():
        check_promises(heard)
        assert heard.words == script(0, WORDS), name
        assert told(heard) == expected[name], name


@pytest.fixture
def memory() -> Iterator[Cluster]:
    with Cluster(transcribers=2, processors=1, **SETTINGS) as cluster:
        yield cluster


@pytest.fixture
def durable() -> Iterator[Cluster]:
    with Cluster(redis=RedisServer(durable=True), transcribers=2, processors=1, **SETTINGS) as cluster:
        yield cluster


async def test_in_memory_no_session_loses_a_word_and_jobs_must_be_submitted_again(memory):
    expected = await undisturbed(memory)
    sessions, jobs, viewed = await killed_in_the_middle(memory)
    async with JobsClient(memory.http()) as client:
        with pytest.raises(ClientError, match="restarted without its data") as lost:
            await client.wait(jobs[0])

    check(sessions, expected)
    for name, heard in sessions.items():
        assert any(greeting.get("reopened") for greeting in heard.of("connected")), name
    assert " ".join(final["text"] for final in viewed).split() == script(0, WORDS)
    assert lost.value.code == "job_not_found"
    for job in jobs:
        answer = httpx.get(f"{memory.http()}/v1/stt/jobs/{job}")
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
        assert "REDIS_DURABLE" in answer.json()["detail"]


async def test_with_an_append_only_file_sessions_jobs_and_transcripts_survive(durable):
    expected = await undisturbed(durable)
    sessions, jobs, viewed = await killed_in_the_middle(durable)

    check(sessions, expected)
    assert " ".join(final["text"] for final in viewed).split() == script(0, WORDS)
    for job in jobs:
        found = await asyncio.to_thread(wait, durable.http(), job, within_s=120)
        assert found["status"] == "completed"
        assert found["result"]["text"].split() == script(0, WORDS)
    for name, heard in sessions.items():
        assert not any(greeting.get("reopened") for greeting in heard.of("connected")), name
        answer = httpx.get(f"{durable.http()}/v1/stt/sessions/{heard.session.id}/transcript")
        assert answer.json()["text"].split() == script(0, WORDS), name
