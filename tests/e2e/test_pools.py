"""Several engines in one cluster: work goes to a pool that can do it, and stays in it."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jiwer
import orjson
import pytest
from openai import BadRequestError, OpenAI

from parlando.client import ClientError, connect
from parlando.domain.transcript import bare
from support.cluster import Cluster, Process
from support.jobs import look, submit, transcribe, wait, wav
from support.models import whisper_base
from support.omi_calls import post, transcripts
from support.perfect import script, speak
from support.redis_topologies import RedisClusterServers
from support.speech import FIXTURES, JFK, fixture, words
from support.streaming import check_promises, stream

GERMAN = "multilingual/de.flac"
ENGLISH_WORDS, GERMAN_WORDS = words("jfk.flac").split(), words(GERMAN).lower().rstrip(".").split()


def plain(text: str) -> list[str]:
    return [bare(word) for word in text.split()]


def german(text: str) -> bool:
    """Whether Whisper base has understood the German clip: at most one of its six words is wrong."""
    return jiwer.wer(" ".join(GERMAN_WORDS), " ".join(plain(text))) < 0.2


def pools(cluster: Cluster) -> dict[str, dict]:
    return {pool["name"]: pool for pool in httpx.get(f"{cluster.http()}/v1/cluster").json()["pools"]}


def until_pools_are(cluster: Cluster, expected: dict[str, int]) -> None:
    """Wait until the gateway sees these pools with as many transcribers."""
    deadline = time.monotonic() + 600
    while (found := {name: pool["workers"] for name, pool in pools(cluster).items()}) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def until_unassigned_are(cluster: Cluster, *, sessions: int, jobs: int) -> None:
    """Wait until the gateway counts as many sessions and jobs without a pool."""
    deadline = time.monotonic() + 600
    while (found := cluster.health()) and (
        (found["sessions"]["unassigned"], found["jobs"]["unassigned"]) != (sessions, jobs)
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


async def refused(cluster: Cluster, language: str) -> None:
    """Open a session in this language. Raises `ClientError` if it is refused."""
    async with connect(cluster.url(), language=language) as session:
        assert [event async for event in session] == []


def document(cluster: Cluster, sid: str) -> dict:
    return httpx.get(f"{cluster.http()}/v1/stt/sessions/{sid}").json()


# --- Moonshine beside Whisper ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    whisper_base()  # says what to do if it was not fetched
    with Cluster(transcribers=0, processors=1, DEVICE="cpu") as cluster:
        cluster.add_transcriber(STT_ENGINE="moonshine")
        cluster.add_transcriber(STT_ENGINE="faster-whisper", WHISPER_MODEL="base")
        until_pools_are(cluster, {"moonshine-tiny": 1, "whisper-base": 1})
        yield cluster


async def test_english_goes_to_moonshine_german_and_unknown_languages_to_whisper(cluster):
    english = await stream(cluster.url(), fixture("jfk.flac"), speed=2, language="en")
    stated = await stream(cluster.url(), fixture(GERMAN), speed=2, language="de")
    unknown = await stream(cluster.url(), fixture(GERMAN), speed=2)

    assert plain(english.text) == ENGLISH_WORDS
    assert german(stated.text)
    assert german(unknown.text)
    for heard, engine, pool in (
        (english, "moonshine", "moonshine-tiny"),
        (stated, "faster-whisper", "whisper-base"),
        (unknown, "faster-whisper", "whisper-base"),
    ):
        assert heard.session is not None
        assert heard.of("connected")[0]["engine"] == engine
        assert document(cluster, heard.session.id)["pool"] == pool


def test_jobs_go_to_the_pool_of_their_language_and_task(cluster):
    base = cluster.http()
    transcribed = submit(base, FIXTURES / "speech" / GERMAN, language="de")
    english = submit(base, JFK, language="en")
    translated = submit(base, FIXTURES / "speech" / GERMAN, language="de", task="translate")

    assert [job["pool"] for job in (transcribed, english, translated)] == [
        "whisper-base",
        "moonshine-tiny",
        "whisper-base",
    ]
    assert german(wait(base, transcribed["job_id"])["result"]["text"])
    assert plain(wait(base, english["job_id"])["result"]["text"]) == ENGLISH_WORDS
    english_text = wait(base, translated["job_id"])["result"]["text"]
    assert english_text
    assert not german(english_text)


def test_openais_clients_choose_by_language_and_may_name_a_pool(cluster):
    client = OpenAI(base_url=f"{cluster.http()}/v1", api_key="any", max_retries=0)
    with (FIXTURES / "speech" / GERMAN).open("rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file, language="de")
    with JFK.open("rb") as file:
        english = client.audio.transcriptions.create(model="whisper-base", file=file, language="en")

    assert german(answer.text)
    assert len(set(plain(english.text)) & set(ENGLISH_WORDS)) > 12
    assert [model.id for model in client.models.list()][:2] == ["moonshine-tiny", "whisper-base"]
    with JFK.open("rb") as file, pytest.raises(BadRequestError, match="it has moonshine-tiny") as error:
        client.audio.transcriptions.create(model="moonshine-tiny", file=file, language="de")
    assert error.value.param == "language"


async def test_a_language_that_no_engine_can_do_is_refused_at_once(cluster):
    with pytest.raises(ClientError, match=r"got zu; it has moonshine-tiny \(en; .*; whisper-base \(\d+ lang"):
        await refused(cluster, "zu")
    answer = httpx.post(
        f"{cluster.http()}/v1/stt/jobs", files={"file": JFK.read_bytes()}, data={"language": "zu"}
    )
    assert answer.status_code == 400
    assert "got zu; it has moonshine-tiny" in answer.json()["detail"]


async def test_a_session_keeps_its_pool_when_its_language_changes(cluster):
    async with connect(cluster.url(), language="en") as session:
        await session.configure(language="de")
        with pytest.raises(ClientError, match=r"the session's engine supports \(en\), but got de"):
            [event async for event in session]


def test_the_cluster_shows_its_pools(cluster):
    found = pools(cluster)

    assert found["moonshine-tiny"] | {"chunks": 0, "sessions": 0} == {
        "name": "moonshine-tiny",
        "engine": "moonshine",
        "model": "tiny",
        "languages": ["en"],
        "tasks": ["transcribe"],
        "metered": False,
        "workers": 1,
        "sessions": 0,
        "capacity": 12,
        "chunks": 0,
    }
    assert {"de", "en", "fr"} < set(found["whisper-base"]["languages"])
    assert {"transcribe", "translate"} <= set(found["whisper-base"]["tasks"])


# --- chaos: engines that make no mistakes, one for each language ------------------------------------------


def add(cluster: Cluster, language: str) -> Process:
    return cluster.add_transcriber(PERFECT_LANGUAGE=language)


def claimed(process: Process) -> set[str]:
    """The sessions that a transcriber has claimed, from its log."""
    lines = [orjson.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
    return {line["session"] for line in lines if line["event"] == "session.claimed"}


@pytest.fixture
def bilingual():
    with Cluster(
        transcribers=0, processors=1, STT_ENGINE="support.perfect:engine", VAD="rms", PARTITIONS="3"
    ) as cluster:
        for language in ("de", "de", "en", "en"):
            add(cluster, language)
        until_pools_are(cluster, {"perfect-de": 2, "perfect-en": 2})
        yield cluster


async def test_sessions_of_a_killed_worker_move_only_to_its_own_pool(bilingual):
    pcm = speak(24)

    async def session(number: int) -> list[str]:
        language = "de" if number % 2 else "en"
        heard = await stream(bilingual.url(), pcm, language=language, session_id=f"{language}-{number}")
        check_promises(heard)
        return heard.words

    running = [asyncio.create_task(session(number)) for number in range(12)]
    germans = bilingual.transcribers[:2]
    deadline = time.monotonic() + 600
    while not all(claimed(process) for process in germans) or sum(map(len, map(claimed, germans))) < 6:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    germans[0].kill()
    moved = claimed(germans[0])

    assert await asyncio.gather(*running) == [script(0, 24)] * 12
    assert moved <= claimed(germans[1])
    for process, language in zip(bilingual.transcribers, ("de", "de", "en", "en"), strict=True):
        assert {sid.partition("-")[0] for sid in claimed(process)} == {language}


async def test_a_session_waits_for_its_pool_while_other_pools_are_free(bilingual):
    """The last German transcriber is gone: nobody else may take its sessions; a new one continues them."""
    pcm = speak(24)
    waiting = asyncio.create_task(stream(bilingual.url(), pcm, language="de", session_id="de-1"))
    deadline = time.monotonic() + 600
    while not any(map(claimed, bilingual.transcribers[:2])):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    for process in bilingual.transcribers[:2]:
        process.kill()
    await asyncio.to_thread(until_pools_are, bilingual, {"perfect-de": 0, "perfect-en": 2})

    shown = pools(bilingual)["perfect-de"]
    assert (shown["sessions"], shown["capacity"], shown["languages"]) == (1, 0, ["de"])
    with pytest.raises(ClientError, match="at_capacity: No transcriber of the pool perfect-de"):
        await refused(bilingual, "de")
    heard = await stream(bilingual.url(), speak(6), language="en", speed=None)
    assert heard.words == script(0, 6)
    assert not waiting.done()
    add(bilingual, "de")
    assert (await waiting).words == script(0, 24)
    assert all("de-1" not in claimed(process) for process in bilingual.transcribers[2:4])


def test_a_job_waits_for_its_pool_while_other_pools_are_free(bilingual):
    base = bilingual.http()
    job = submit(base, wav(speak(60)), language="de")
    for process in bilingual.transcribers[:2]:
        process.kill()
    english = transcribe(base, wav(speak(6)), language="en")
    assert english["text"].split() == script(0, 6)
    assert httpx.get(f"{base}/v1/stt/jobs/{job['job_id']}").json()["status"] not in ("completed", "failed")
    add(bilingual, "de")
    done = wait(base, job["job_id"])
    assert done["status"] == "completed"
    assert done["result"]["text"].split() == script(0, 60)


async def test_work_accepted_before_any_transcriber_ran_goes_to_a_pool_that_can_do_it():
    """On a Redis Cluster, in several partitions, adopted by the faster of two transcribers of each pool."""
    with Cluster(
        transcribers=0,
        processors=1,
        redis=RedisClusterServers(),
        STT_ENGINE="support.perfect:engine",
        VAD="rms",
        OMI_IDLE_S="3",
        PARTITIONS="6",
    ) as cluster:
        base = cluster.http()
        uids = [f"{language}{number}" for number in range(4) for language in ("de", "en")]
        for uid in uids:
            body = speak(8).tobytes()
            assert (
                post(cluster, f"/streaming?uid={uid}&language={uid[:2]}", body, key=None).status_code == 200
            )
        jobs = [submit(base, wav(speak(12)), language=language) for language in ("de", "en", "fr")]
        assert [job["pool"] for job in jobs] == ["unassigned"] * 3
        until_unassigned_are(cluster, sessions=8, jobs=3)
        add(cluster, "de")
        add(cluster, "de")
        german = wait(base, jobs[0]["job_id"])
        assert (german["pool"], german["result"]["text"].split()) == ("perfect-de", script(0, 12))
        add(cluster, "en")
        add(cluster, "en")
        english = wait(base, jobs[1]["job_id"])
        assert (english["pool"], english["result"]["text"].split()) == ("perfect-en", script(0, 12))

        for uid in uids:
            [transcript] = await transcripts(cluster, uid, within_s=600)
            assert transcript["text"].split() == script(0, 8)
        claims = [claimed(process) for process in cluster.transcribers]
        assert sum(map(len, claims)) == len(claims[0] | claims[1]) + len(claims[2] | claims[3]) == 8
        assert {document(cluster, sid)["pool"] for sid in claims[0] | claims[1]} == {"perfect-de"}
        assert {document(cluster, sid)["pool"] for sid in claims[2] | claims[3]} == {"perfect-en"}
        assert look(base, jobs[2]["job_id"])["pool"] == "unassigned"
        until_unassigned_are(cluster, sessions=0, jobs=1)
        shown = subprocess.run(
            [Path(sys.executable).with_name("parlando"), "status", "--url", base],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert "jobs: 1 (no running transcriber can do them yet)" in shown.stdout
