"""Analyses in a running cluster: files, jobs, live sessions."""

import asyncio
import json
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from parlando.client import connect
from support.cluster import Cluster
from support.jobs import submit, wait, wav
from support.language_model import language_model
from support.perfect import PERFECT, script, silence, speak
from support.polyglot import POLYGLOT, english, number
from support.tasks import (
    ALL,
    ORDER,
    REAL_TIME,
    all_updates,
    analysed,
    check_progress,
    ended,
    kept,
    updates_of,
)

STEPS = ",".join(f"support.analysis_steps:{name}" for name in ("Words", "Fails", "Waits"))


def words(count: int, *, first: int = 0, every: int = 5) -> bytes:
    """A WAV file with a pause after every few words, so that the job has several segments."""
    parts = []
    for start in range(first, first + count, every):
        parts += [speak(min(every, first + count - start), first=start), silence(0.8)]
    return wav(np.concatenate(parts))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def cluster(runs):
    with (
        language_model() as model,
        Cluster(
            transcribers=1,
            processors=1,
            analyzers=2,
            PARTITIONS="2",
            ANALYSIS_STEPS=STEPS,
            ANALYSIS_RUNS=str(runs),
            WORDS_PAUSE_MS="20",
            LLM_BASE_URL=f"{model.url}/v1",
            LLM_MODEL="small",
            LLM_PRICE_INPUT_USD="1",
            **PERFECT,
        ) as running,
    ):
        running.model = model
        yield running


def test_every_step_is_streamed_in_order_with_partial_results(cluster):
    base, heard = cluster.http(), []
    store = cluster.store()

    def listen() -> None:
        with store.pubsub() as channel:
            channel.psubscribe("audio_stream:*")
            ready.set()
            for message in channel.listen():
                if message["type"] == "pmessage":
                    heard.append(json.loads(message["data"]))
                    if heard[-1]["step"] == "completed":
                        return

    ready = threading.Event()
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert ready.wait(60)
    with analysed(base, words(20), language="en", target_language="de", **ALL) as (task, stream):
        updates = list(stream)
    listener.join(60)
    assert kept(updates) == ORDER
    check_progress(updates)
    by_step = {update["step"]: update for update in updates if update["seq"] is not None}
    assert [by_step[step]["progress"] for step in ORDER] == [
        *(5, 10, 30, 35, 50, 60, 65, 70, 75, 80, 85, 90, 95, 100)
    ]
    text = " ".join(script(0, 20))
    partial = [u["partial_result"] for u in updates if u["step"] == "transcription" and u["seq"] is None]
    assert partial
    for each in partial:
        assert text.startswith(each["transcript"])
        assert each["is_final"] is False
    assert by_step["transcription_complete"]["partial_result"]["transcript"] == text
    assert by_step["translation_complete"]["partial_result"]["translation"] == text.upper()
    assert [u for u in updates if u["step"] == "translation" and u["seq"] is None]
    result = by_step["completed"]["partial_result"]
    assert (result["transcript"], result["translation"]) == (text, text.upper())
    assert result["results"]["summary"]["summary"].startswith("A summary of")
    assert result["usage"]["requests"] == 3
    assert result["usage"]["cost_usd"] == pytest.approx(300 / 1e6)
    for update in updates:
        assert update["task_id"] == task
        assert update.keys() >= {"task_id", "step", "progress", "message", "timestamp"}
    published = [u for u in heard if u["task_id"] == task]
    assert [u for u in published if u["seq"] is not None] == [u for u in updates if u["seq"] is not None]


def test_the_stream_without_partial_results_has_the_same_steps(cluster):
    updates = all_updates(cluster.http(), words(10), "/audio/process-stream", language="en", **ALL)
    assert kept(updates) == ORDER
    assert len(updates) == len(ORDER)


def test_phases_that_are_not_asked_for_are_left_out(cluster):
    updates = all_updates(cluster.http(), words(5), language="en")
    assert kept(updates) == [s for s in ORDER if not s.startswith(("translation", "insights"))]


def test_a_task_is_read_later_and_continued_where_a_reader_was(cluster):
    base = cluster.http()
    with analysed(base, words(10), language="en") as (task, stream):
        everything = [update for update in stream if update["seq"] is not None]
    state = httpx.get(f"{base}/audio/tasks/{task}", timeout=600).json()
    assert (state["status"], state["progress"], state["updates"]) == ("completed", 100, len(everything))
    assert state["result"] == everything[-1]["partial_result"]
    events = f"{base}/audio/tasks/{task}/events"
    rest = httpx.get(events, headers={"Last-Event-ID": "3"}, timeout=600)
    assert list(updates_of(iter(rest.text.splitlines()))) == everything[3:]
    whole = httpx.get(events, timeout=600)
    assert list(updates_of(iter(whole.text.splitlines()))) == everything
    assert "event:" not in whole.text, "EventSource.onmessage gets only events without a name"
    last = {"Last-Event-ID": str(everything[-1]["seq"])}
    assert httpx.get(events, headers=last, timeout=600).status_code == 204
    job = httpx.get(f"{base}/v1/stt/jobs/{task}/result", params={"annotations": "true"}, timeout=600).json()
    results = {each["kind"]: each["data"] for each in job["annotations"]}
    assert results == everything[-1]["partial_result"]["results"]
    assert httpx.delete(f"{base}/audio/tasks/{task}", timeout=600).json()["status"] == "deleted"
    for path in ("", "/events"):
        assert httpx.get(f"{base}/audio/tasks/{task}{path}", timeout=600).status_code == 404


def test_jobs_have_the_steps_that_they_name_as_annotations(cluster):
    base = cluster.http()
    job = submit(base, words(10, first=100), analyze="words,fails,entities", language="en")["job_id"]
    task = ended(base, job)
    assert task["steps"] == ["words", "fails", "entities"]
    assert wait(base, job)["status"] == "completed"
    url = f"{base}/v1/stt/jobs/{job}/result"
    notes = httpx.get(url, params={"annotations": "true"}, timeout=600).json()["annotations"]
    found = {each["kind"]: each["data"] for each in notes}
    assert [each["text"] for each in found["words"]["words"]] == script(100, 10)
    assert found["fails"]["status"] == "failed"
    assert found["fails"]["reason"].startswith("ValueError")
    assert found["entities"]["status"] == "done"
    assert {each["by"] for each in notes} == {"analyzer"}
    segments = httpx.get(url, timeout=600).json()["segments"]
    assert [(s["segment"], s["start"], s["text"]) for s in task["result"]["segments"]] == [
        (s["id"], s["start"], s["text"]) for s in segments
    ]


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"include_insights": "maybe"}, "invalid_request", "include_insights: expected true or false"),
        ({"language": "klingon"}, "invalid_request", "language"),
        ({"target_language": "German!"}, "invalid_request", "target_language"),
    ],
)
def test_wrong_fields_are_refused_before_the_stream(cluster, fields, code, says):
    files = {"audio": ("a.wav", words(1))}
    answer = httpx.post(f"{cluster.http()}{REAL_TIME}", files=files, data=fields, timeout=600)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert says in answer.json()["detail"]


def test_unknown_steps_and_missing_files_are_refused(cluster):
    base = cluster.http()
    answer = httpx.post(f"{base}{REAL_TIME}", files={"audio": ("", b"")}, timeout=600)
    assert answer.status_code == 400
    files = {"file": ("a.wav", words(1))}
    answer = httpx.post(f"{base}/v1/stt/jobs", files=files, data={"analyze": "poetry"}, timeout=600)
    assert answer.status_code == 400
    assert "poetry" in answer.json()["detail"]
    job = submit(base, words(1))["job_id"]
    answer = httpx.get(f"{base}/audio/tasks/{job}", timeout=600)
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_a_file_that_is_no_audio_fails_with_its_reason(cluster):
    updates = all_updates(cluster.http(), b"this is no audio file" * 100)
    assert updates[-1]["step"] == "failed"
    assert updates[-1]["partial_result"]["error"]["code"] == "invalid_audio"


def test_a_file_without_speech_has_results_that_say_so(cluster):
    updates = all_updates(cluster.http(), wav(silence(2)), language="en")
    assert updates[-1]["step"] == "completed"
    assert updates[-1]["partial_result"]["results"]["entities"] == {
        "status": "unavailable",
        "reason": "there is no text",
    }


@pytest.mark.parametrize("cancels", [False, True])
def test_a_client_that_leaves_stops_the_task_only_if_it_asked_for_that(cluster, cancels):
    base = cluster.http()
    fields = {"cancel_on_disconnect": "true"} if cancels else {}
    slow = words(400, first=1000, every=5)
    with analysed(base, slow, language="en", **fields) as (task, stream):
        next(stream)
    state = ended(base, task)
    assert state["status"] == ("cancelled" if cancels else "completed")


def test_a_running_task_is_cancelled(cluster):
    base = cluster.http()
    with analysed(base, words(400, first=2000), language="en") as (task, stream):
        next(stream)
        assert httpx.delete(f"{base}/audio/tasks/{task}", timeout=600).json()["status"] == "cancelled"
        assert list(stream)[-1]["step"] == "cancelled"


def test_a_task_that_is_being_analysed_is_cancelled_too(cluster):
    base = cluster.http()
    job = submit(base, words(5, first=500), analyze="waits", language="en")["job_id"]
    assert wait(base, job)["status"] == "completed"
    with httpx.stream("GET", f"{base}/audio/tasks/{job}/events", timeout=600) as answer:
        updates = []
        for update in updates_of(answer.iter_lines()):
            updates.append(update)
            if update["step"] == "insights" and update["seq"] is not None:
                deleted = httpx.delete(f"{base}/audio/tasks/{job}", timeout=600).json()
                assert deleted["status"] == "cancelled"
    assert updates[-1]["step"] == "cancelled"
    assert updates[-1]["message"] == "The task was cancelled"
    deadline = time.monotonic() + 600
    while cluster.health()["analyzers"]["analyses"]:
        assert time.monotonic() < deadline, "an analyzer still works on it"
        time.sleep(0.1)


def test_a_hundred_streams_at_once_have_their_own_results(cluster):
    base = cluster.http()

    async def one(client: httpx.AsyncClient, place: int) -> list[dict]:
        files = {"audio": ("a.wav", words(4, first=10 * place))}
        data = {"language": "en"}
        async with client.stream("POST", f"{base}{REAL_TIME}", files=files, data=data) as answer:
            assert answer.status_code == 200
            return [json.loads(line[6:]) async for line in answer.aiter_lines() if line.startswith("data: ")]

    async def everything() -> list[list[dict]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=600, limits=limits) as client:
            return await asyncio.gather(*(one(client, place) for place in range(100)))

    found = asyncio.run(everything())
    for place, updates in enumerate(found):
        check_progress(updates)
        assert updates[-1]["step"] == "completed"
        assert updates[-1]["partial_result"]["transcript"] == " ".join(script(10 * place, 4))
    assert len({updates[0]["task_id"] for updates in found}) == 100


async def test_finals_of_a_live_session_are_annotated_and_it_has_a_digest(cluster):
    options = {"analyze": "words,fails,entities", "annotations": True, "language": "en"}
    events: list[dict] = []

    async def collect(session) -> None:
        async for event in session:
            events.append(event)  # noqa: PERF401 it is read while it grows

    def found() -> list[dict]:
        return [each["data"] for each in events if each["type"] == "annotation" and each["kind"] == "words"]

    async with asyncio.timeout(600), connect(cluster.url(), **options) as session:
        collecting = asyncio.create_task(collect(session))
        for start in (0, 5, 10):
            await session.send(np.concatenate([speak(5, first=start), silence(1.2)]).tobytes())
        while len(found()) < 3:
            await asyncio.sleep(0.05)
        async with httpx.AsyncClient(timeout=600) as client:
            digest = await client.post(f"{cluster.http()}/v1/stt/sessions/{session.id}/digest")
        await session.end()
        await collecting
    finals = {each["segment"]: each for each in events if each["type"] == "final"}
    for data in found():
        assert [each["text"] for each in data["words"]] == finals[data["segment"]]["text"].split()
        assert data["seq"] == finals[data["segment"]]["seq"]
    assert len({data["segment"] for data in found()}) == 3
    assert digest.status_code == 200, digest.text
    body = digest.json()
    assert body["segments"] == 3
    assert body["questions"] == {"status": "done", "questions": []}
    assert body["summary"]["status"] == "done"


# --- deaths -------------------------------------------------------------------------------------------


def test_a_task_survives_the_death_of_every_worker(runs):
    """Analyzer, transcriber and gateway are killed in the middle: one result, each update and step once."""
    environment = {"ANALYSIS_STEPS": STEPS, "ANALYSIS_RUNS": str(runs), "WORDS_PAUSE_MS": "60"}
    file = words(60, first=3000)
    with Cluster(
        transcribers=2, processors=1, analyzers=2, PERFECT_DELAY_MS="100", **environment, **PERFECT
    ) as cluster:
        base = cluster.http()
        job = submit(base, file, analyze="words,fails,language", language="en")["job_id"]
        cluster.transcribers[0].kill()
        cluster.add_transcriber()
        victims = list(cluster.analyzers)
        wait(base, job)
        deadline = time.monotonic() + 600
        while not (started := [f for f in os.listdir(runs) if f.endswith("-w3000")]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        [owner] = [p for p in victims if p.process.pid == int(started[0].partition("-")[0])]
        owner.kill()
        cluster.gateways[0].signal(signal.SIGKILL)
        cluster.gateways[0].process.wait()
        cluster.restart_gateway()
        cluster.wait_ready(1)
        task = ended(base, job)
        assert task["status"] == "completed"
        text = httpx.get(f"{base}/audio/tasks/{job}/events", timeout=600).text
        updates = list(updates_of(iter(text.splitlines())))
        notes = httpx.get(
            f"{base}/v1/stt/jobs/{job}/result", params={"annotations": "true"}, timeout=600
        ).json()["annotations"]
    assert len([f for f in os.listdir(runs) if f.endswith("-w3000")]) == 2, "another analyzer has repeated it"
    check_progress(updates)
    assert kept(updates) == [
        *("started", "transcription", "transcription_complete", "classification", "classification_complete"),
        *("insights", "insights_complete", "completed"),
    ]
    assert sorted(each["kind"] for each in notes) == ["fails", "language", "words"]
    result = updates[-1]["partial_result"]
    assert result["transcript"] == " ".join(script(3000, 60))
    assert [each["text"] for each in result["results"]["words"]["words"]] == script(3000, 60)


def test_without_an_analyzer_a_request_says_how_to_start_one():
    with Cluster(transcribers=1, **PERFECT) as cluster:
        answers = [
            httpx.post(f"{cluster.http()}{REAL_TIME}", files={"audio": ("a.wav", words(1))}, timeout=600),
            httpx.post(
                f"{cluster.http()}/v1/stt/jobs",
                files={"file": ("a.wav", words(1))},
                data={"analyze": "entities"},
                timeout=600,
            ),
        ]
        left = [path for path in Path(cluster.blobs).rglob("*") if path.is_file()]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "no_analyzer")
        assert "ANALYZER=1 make run" in answer.json()["detail"]
    assert left == [], "no upload stays"


def test_without_a_language_model_the_speech_engine_translates_into_english():
    file = words(5, first=number("de", 0))
    fields = {"language": "de", "include_translation": "true"}
    with Cluster(transcribers=1, processors=1, analyzers=1, **POLYGLOT) as cluster:
        into_english = all_updates(cluster.http(), file, **fields)[-1]["partial_result"]
        into_french = all_updates(cluster.http(), file, **fields, target_language="fr")[-1]["partial_result"]
    assert into_english["results"]["translation"]["by"] == "speech engine"
    assert into_english["translation"] == english("de", 0, 5)
    assert into_french["results"]["translation"]["status"] == "unavailable"
    assert "translation" not in into_french
    assert into_english["results"]["entities"] == {
        "status": "unavailable",
        "reason": "the text is in the language de, the step understands en",
    }
