"""Usage in a running cluster: counted once, to the millisecond, although every kind of process is killed."""

import asyncio
import csv
import io
import json
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from parlando.cli.app import app
from parlando.client import ClientError, KeysClient, UsageClient, connect
from parlando.ids import fingerprint
from parlando.store.usage_keys import USAGE_TTL_S, earlier_usage, today
from support.cluster import Cluster
from support.jobs import look, submit, wait, wav
from support.language_model import faithful, language_model
from support.perfect import PERFECT, script, silence, speak
from support.streaming import check_promises, stream

pytestmark = pytest.mark.usefixtures("same_day")
LONG_S = 600
SDK = Path(__file__).parents[2] / "clients" / "js"
PRICE = 0.04


class Held:
    """A language model whose first summary waits until it is released."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.released = threading.Event()

    def __call__(self, schema: str, data: dict) -> object:
        if schema == "summarised" and not self.asked.is_set():
            self.asked.set()
            self.released.wait(LONG_S)
        return faithful(schema, data)


@pytest.fixture(scope="module")
def cluster():
    held = Held()
    with (
        language_model(held) as model,
        Cluster(
            gateways=2,
            transcribers=2,
            processors=1,
            analyzers=1,
            PARTITIONS="2",
            API_KEYS="alpha,beta",
            PRICE_PER_HOUR_USD=str(PRICE),
            LLM_BASE_URL=f"{model.url}/v1",
            LLM_MODEL="small",
            LLM_PRICE_INPUT_USD="1",
            LLM_PRICE_OUTPUT_USD="3",
            **PERFECT,
        ) as running,
    ):
        running.held = held
        yield running


def asked(cluster, key: str, gateway: int = 0, **query: str) -> dict:
    answer = httpx.get(
        f"{cluster.http(gateway)}/v1/usage",
        params=query,
        headers={"Authorization": f"Bearer {key}"},
        timeout=LONG_S,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def owner(cluster, name: str, *scopes: str) -> str:
    """A key of an owner of its own, so that no other test's usage is in the answer."""
    async with KeysClient(cluster.http(), api_key="alpha") as keys:
        made = await keys.create(name, owner=name, scopes=scopes or ("live", "jobs", "read"))
    return made["key"]


def recording(words: int, odd: int) -> np.ndarray:
    """Speech with pauses, and `odd` samples more than whole milliseconds and frames."""
    parts = [np.r_[speak(6, first=at), silence(0.7)] for at in range(0, words, 6)]
    return np.concatenate([*parts, np.zeros(odd, np.int16)])


async def test_live_audio_is_counted_to_the_millisecond_although_transcribers_and_a_gateway_are_killed(
    cluster,
):
    key = await owner(cluster, "killed")
    audio = [recording(24, odd) for odd in (0, 1, 15, 777)]
    urls = [cluster.url(0), cluster.url(1)]
    sessions = [
        asyncio.create_task(stream(urls[n % 2 :] + urls[: n % 2], pcm, speed=1.5, frame_ms=40, api_key=key))
        for n, pcm in enumerate(audio)
    ]
    moments = random.Random(7)
    async with asyncio.timeout(LONG_S):
        while (await asyncio.to_thread(asked, cluster, key))["total"]["sessions"] < len(audio):
            await asyncio.sleep(0.1)
    for number in range(3):
        await asyncio.sleep(moments.uniform(1.5, 2.5))
        living = [each for each in cluster.transcribers if each.process.poll() is None]
        moments.choice(living).kill()
        cluster.add_transcriber()
        if number == 1:
            cluster.gateways[0].kill()
            await asyncio.to_thread(cluster.restart_gateway)
    heard = await asyncio.gather(*sessions)
    for each in heard:
        check_promises(each)
        assert each.words == script(0, 24)
    logs = "".join(process.log.read_text() for process in cluster.transcribers)
    assert '"kind": "takeover"' in logs, "a kill has hit a session"
    assert any(len(each.of("connected")) > 1 for each in heard), "the gateway's death too"
    cluster.wait_ready(2)

    sent_ms = sum(len(pcm) // 16 for pcm in audio)
    for gateway in (0, 1):
        total = asked(cluster, key, gateway)["total"]
        assert total["live_audio_s"] == sent_ms / 1000
        assert total["audio_s"] == sent_ms / 1000
        assert total["sessions"] == len(audio), "resuming is not a session"
        assert (total["jobs"], total["omi_audio_s"], total["llm_requests"]) == (0, 0, 0)
        assert total["cost_usd"] == round(sent_ms / 3_600_000 * PRICE, 6)


async def test_a_job_is_counted_once_although_its_workers_are_killed_and_it_is_submitted_again(cluster):
    key = await owner(cluster, "recordings")
    pcm = recording(60, 5)
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "once"}

    def sent() -> str:
        answer = httpx.post(
            f"{cluster.http()}/v1/stt/jobs",
            files={"file": ("talk.wav", wav(pcm))},
            headers=headers,
            timeout=LONG_S,
        )
        assert answer.status_code in (200, 202), answer.text
        return answer.json()["job_id"]

    job = sent()
    cluster.processors[-1].kill()
    cluster.add_processor()
    deadline = time.monotonic() + LONG_S
    while look(cluster.http(), job, key=key)["status"] == "uploaded":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    next(each for each in cluster.transcribers if each.process.poll() is None).kill()
    cluster.add_transcriber()
    assert sent() == job
    await asyncio.to_thread(wait, cluster.http(), job, key=key)
    assert sent() == job
    failed = submit(cluster.http(), b"no audio", key=key)["job_id"]
    assert (await asyncio.to_thread(wait, cluster.http(), failed, key=key))["status"] == "failed"

    total = asked(cluster, key)["total"]
    assert total["job_audio_s"] == (len(pcm) // 16) / 1000
    assert (total["jobs"], total["files"], total["sessions"]) == (1, 1, 0)


async def test_tokens_are_counted_with_their_result_although_the_analyzer_is_killed(cluster):
    key = await owner(cluster, "analyses")
    headers = {"Authorization": f"Bearer {key}"}
    job = submit(cluster.http(), wav(recording(12, 0)), key=key, analyze="summary,insights", language="en")[
        "job_id"
    ]
    assert await asyncio.to_thread(cluster.held.asked.wait, LONG_S)
    cluster.analyzers[0].kill()
    cluster.held.released.set()
    cluster.add_analyzer()

    def over() -> dict:
        while True:
            found = httpx.get(f"{cluster.http()}/audio/tasks/{job}", headers=headers, timeout=LONG_S).json()
            if found["status"] in ("completed", "failed", "cancelled"):
                return found
            time.sleep(0.05)

    async with asyncio.timeout(LONG_S):
        assert (await asyncio.to_thread(over))["status"] == "completed"
    answer = httpx.get(f"{cluster.http()}/audio/tasks/{job}/events", headers=headers, timeout=LONG_S).text
    last = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: ")][-1]
    said = last["partial_result"]["usage"]
    assert said["requests"] == 2
    total = asked(cluster, key)["total"]
    assert total["llm_requests"] == said["requests"]
    assert total["llm_input_tokens"] == said["input_tokens"] == 200
    assert total["llm_output_tokens"] == said["output_tokens"]
    assert total["llm_cost_usd"] == pytest.approx(said["cost_usd"], abs=1e-9)
    assert total["cost_usd"] == pytest.approx(total["audio_cost_usd"] + total["llm_cost_usd"], abs=2e-6)


async def test_a_digest_counts_for_the_owner_of_the_session(cluster):
    cluster.held.asked.set()
    cluster.held.released.set()
    cluster.wait_ready(1, analyzers=1)
    key = await owner(cluster, "digests")
    headers = {"Authorization": f"Bearer {key}"}
    async with connect(cluster.url(), api_key=key) as session:
        await session.send(recording(6, 0).tobytes())
        await session.flush()
        async for event in session:
            if event["type"] == "flushed":
                break
        answer = httpx.post(
            f"{cluster.http()}/v1/stt/sessions/{session.id}/digest", headers=headers, timeout=LONG_S
        )
        assert answer.json()["summary"]["status"] == "done", answer.text
        used = answer.json()["summary"]["usage"]
        total = asked(cluster, key)["total"]
        assert (total["llm_requests"], total["llm_input_tokens"]) == (1, used["input_tokens"])
        await session.end()


# --- who sees what ------------------------------------------------------------------------------------


async def test_owners_see_their_own_usage_and_admins_see_all(cluster):
    mine, other = await owner(cluster, "mine", "live", "read"), await owner(cluster, "other", "read")
    await stream(cluster.url(), speak(4), speed=None, api_key=mine)
    seconds = len(speak(4)) // 16 / 1000
    assert asked(cluster, mine)["total"]["audio_s"] == seconds
    assert asked(cluster, mine, owner="mine")["total"]["audio_s"] == seconds
    assert asked(cluster, other) == asked(cluster, other) | {"days": []}
    assert asked(cluster, other)["total"]["audio_s"] == 0
    for name in ("mine", fingerprint("owner:mine"), fingerprint("owner:mine")[:16], "*"):
        answer = httpx.get(
            f"{cluster.http()}/v1/usage",
            params={"owner": name},
            headers={"Authorization": f"Bearer {other}"},
            timeout=LONG_S,
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "admin" in answer.json()["detail"]
        found = asked(cluster, "alpha", owner=name)
        rows = [row for row in found["days"] if row["owner_name"] == "mine"]
        assert [row["audio_s"] for row in rows] == [seconds]
    everybody = asked(cluster, "alpha", owner="*")
    assert everybody["owner"] == "*"
    assert len({row["owner"] for row in everybody["days"]}) > 1
    assert everybody["total"]["audio_s"] == pytest.approx(sum(row["audio_s"] for row in everybody["days"]))
    assert httpx.get(f"{cluster.http()}/v1/usage", timeout=LONG_S).status_code == 401


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"from": "2026-11-02", "to": "2026-11-01"}, 400, "2026-11-01"),
        ({"from": "yesterday"}, 422, "from"),
        ({"format": "xml"}, 422, "format"),
        ({"owner": ""}, 422, "owner"),
    ],
)
def test_a_wrong_question_is_answered_with_the_reason(cluster, query, status, said):
    answer = httpx.get(
        f"{cluster.http()}/v1/usage",
        params=query,
        headers={"Authorization": "Bearer alpha"},
        timeout=LONG_S,
    )
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text


def test_a_range_without_end_is_answered_with_the_days_that_are_kept(cluster):
    found = asked(cluster, "beta", **{"from": "0001-01-01", "to": "9999-12-31"})
    assert (found["from"], found["to"], found["days"]) == ("0001-01-01", "9999-12-31", [])


async def test_a_month_counted_by_an_earlier_version_does_not_fall_to_zero(cluster):
    secret = await owner(cluster, "earlier", "live", "read")
    who = fingerprint("owner:earlier")
    store = cluster.store()
    month = today().isoformat()[:7]
    for partition, seconds in ((0, 100), (1, 23)):
        name = earlier_usage(partition, who, month)
        store.hset(name, mapping={"files": 2, "audio_ms": seconds * 1000})
        store.expire(name, USAGE_TTL_S)
    await stream(cluster.url(), speak(4), speed=None, api_key=secret)
    seconds = len(speak(4)) // 16 / 1000
    headers = {"Authorization": f"Bearer {secret}"}
    said = httpx.get(f"{cluster.http()}/stats", headers=headers, timeout=LONG_S).json()["current_month"]
    assert (said["files_processed"], said["audio_seconds"]) == (4, 123 + seconds)
    assert said["total_cost_usd"] == round((123 + seconds) / 3600 * PRICE, 4)
    total = asked(cluster, secret)["total"]
    assert (total["earlier_audio_s"], total["live_audio_s"]) == (123, seconds)
    assert total["audio_s"] == pytest.approx(said["audio_seconds"])


# --- clients ------------------------------------------------------------------------------------------


async def test_the_python_client_and_csv_agree_with_the_document(cluster):
    secret = await owner(cluster, "=1+1", "live", "read")
    await stream(cluster.url(), speak(4), speed=None, api_key=secret)
    async with UsageClient(cluster.http(), api_key=secret) as usage:
        found = await usage.get(first=today(), last=today())
        text = await usage.csv(first=today().isoformat())
        with pytest.raises(ClientError, match="admin"):
            await usage.get(owner="mine")
    [row] = csv.DictReader(io.StringIO(text))
    [day] = found["days"]
    assert row["owner_name"] == "'=1+1", "no formula for a spreadsheet"
    assert {name: float(row[name]) for name in found["total"]} == found["total"]
    assert (row["day"], row["owner"]) == (day["day"], day["owner"])
    answer = httpx.get(
        f"{cluster.http()}/v1/usage?format=csv", headers={"Authorization": f"Bearer {secret}"}, timeout=LONG_S
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f"-{today()}.csv" in answer.headers["content-disposition"]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
async def test_the_javascript_client_reads_usage(cluster, tmp_path):
    secret = await owner(cluster, "javascript", "live", "read")
    await stream(cluster.url(), speak(4), speed=None, api_key=secret)
    program = tmp_path / "usage.mjs"
    program.write_text(
        f"""
        import {{ ParlandoClient }} from "{SDK.as_uri()}/parlando.js";
        const client = new ParlandoClient("{cluster.http()}", {{ apiKey: "{secret}" }});
        const {{ total }} = await client.usage.get({{ from: "{today()}" }});
        console.log(total.audio_s, (await client.usage.csv()).split("\\r\\n").length);
        """
    )
    done = await asyncio.to_thread(
        subprocess.run, ["node", program], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert done.stdout == "2 3\n", done.stderr


async def test_the_command_line_shows_usage_as_a_table_and_as_csv(cluster, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    secret = await owner(cluster, "command", "live", "read")
    await stream(cluster.url(), speak(4), speed=None, api_key=secret)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["usage", "--url", cluster.http(), "--key", secret, *words])
        return done.exit_code, done.stdout

    code, out = await asyncio.to_thread(run, "--from", today().isoformat())
    assert code == 0
    assert "total" in out
    assert f"0:00:0{len(speak(4)) // 16_000}" in out
    code, out = await asyncio.to_thread(run, "--to", today().isoformat(), "--csv")
    [row] = csv.DictReader(io.StringIO(out))
    assert (code, row["owner_name"], row["sessions"]) == (0, "command", "1")
