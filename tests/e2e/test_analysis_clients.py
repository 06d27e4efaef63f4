"""Analyses by the Python client, the command line and the JavaScript SDK."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from parlando.client import AnalysisClient, ClientError, Parlando, connect
from parlando.domain.analysis import TaskUpdate
from parlando.store import keys as names
from support.cluster import Cluster
from support.gated_steps import STEPS
from support.jobs import wav
from support.perfect import PERFECT, script, speak
from support.pools import POOL
from support.ports import free_port
from support.speech import JFK, fixture

SDK = Path(__file__).parents[2] / "clients" / "js"
KEPT = [
    "started",
    "transcription",
    "transcription_complete",
    "ner",
    "ner_complete",
    "classification",
    "classification_complete",
    "summarization",
    "summarization_complete",
    "completed",
]
"""The kept updates of an analysis without a translation and without insights."""
WITHIN_S = 600
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")


class Gate:
    """The file for which the step `topics` waits."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        self.path.touch()

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def cluster():
    """Real models."""
    with Cluster(transcribers=1, processors=1, analyzers=1) as running:
        yield running


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """Quick steps, whose middle one waits for the gate."""
    path = tmp_path_factory.mktemp("gate") / "open"
    with Cluster(
        transcribers=1, processors=1, analyzers=1, STEP_GATE=str(path), **PERFECT, **STEPS
    ) as running:
        yield running, path


@pytest.fixture
def gate(gated):
    """Closed when the test begins, open when it has ended."""
    gate = Gate(gated[1])
    gate.close()
    yield gate
    gate.open()


@pytest.fixture
def quick(gated, gate):
    return gated[0]


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    path.write_bytes(wav(speak(8)))
    return path


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kept(updates: Iterable[TaskUpdate]) -> list[tuple[int, str]]:
    """Number and step of the updates that are kept."""
    return [(update.seq, update.step) for update in updates if update.seq is not None]


def parlando(cluster: Cluster, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(cluster, *words), capture_output=True, text=True, timeout=WITHIN_S)


def _command(cluster: Cluster, *words: object) -> list[str]:
    return [
        str(Path(sys.executable).with_name("parlando")),
        *map(str, words),
        "--url",
        cluster.http(),
    ]


# --- the Python client ------------------------------------------------------------------------------


async def test_every_update_of_a_file_and_its_result(quick, gate, speech):
    sizes: list[int] = []
    tasks: list[str] = []
    async with AnalysisClient(quick.http()) as client, asyncio.timeout(WITHIN_S):
        updates = []
        async for update in client.analyze(speech, language="en", sent=sizes.append, begun=tasks.append):
            updates.append(update)
            if update.step == "classification" and update.seq is None:
                gate.open()  # after a partial result
        assert kept(updates) == [*enumerate(KEPT, start=1)]
        assert sizes[-1] == speech.stat().st_size
        assert [update.progress for update in updates] == sorted(update.progress for update in updates)
        result = updates[-1].partial_result
        assert result["transcript"].split() == script(0, 8)
        assert result["results"]["topics"]["topics"][0]["label"] == "mathematics"
        assert result["results"]["summary"]["status"] == "unavailable"

        [task] = tasks
        state = await client.task(task)
        assert (state["status"], state["result"]) == ("completed", result)
        assert [update.seq async for update in client.updates(task, after=7)] == [8, 9, 10]
        assert [update async for update in client.updates(task, after=10)] == []
        assert (await client.cancel(task))["status"] == "deleted"
        with pytest.raises(ClientError, match="job_not_found"):
            await client.task(task)
        with pytest.raises(ClientError, match="job_not_found"):
            [update async for update in client.updates(task)]


async def test_a_gateway_that_is_killed_in_the_middle_costs_no_update(quick, gate, speech):
    async with AnalysisClient(quick.http()) as client, asyncio.timeout(WITHIN_S):
        updates = []
        async for update in client.analyze(speech, language="en"):
            updates.append(update)
            if update.step == "classification" and update.seq is not None:
                quick.gateways[0].kill()
                quick.restart_gateway()
                gate.open()
    assert kept(updates) == [*enumerate(KEPT, start=1)]


async def test_a_client_that_leaves_may_cancel_or_not(quick, gate, speech):
    shares = names.shares(0, POOL)
    async with AnalysisClient(quick.http()) as client, asyncio.timeout(WITHIN_S):
        quick.store().hset(shares, "chunk:", 1000)  # nothing has room, so that the files aren't transcribed
        tasks: list[str] = []
        for cancels in (True, False):
            updates = client.analyze(speech, cancel_on_disconnect=cancels, begun=tasks.append)
            async with aclosing(updates):
                async for update in updates:
                    if update.step == "transcription":
                        break
        while (await client.task(tasks[0]))["status"] == "running":
            await asyncio.sleep(0.1)
        assert (await client.task(tasks[0]))["status"] == "cancelled"
        quick.store().delete(shares)
        gate.open()
        assert [update.step async for update in client.updates(tasks[1])][-1] == "completed"


async def test_what_is_refused_is_raised(quick, speech, tmp_path):
    async with AnalysisClient(quick.http()) as client:
        with pytest.raises(ClientError, match="language"):
            [update async for update in client.analyze(speech, language="xx")]
        with pytest.raises(FileNotFoundError):
            [update async for update in client.analyze(tmp_path / "nothing.wav")]
        (tmp_path / "broken.wav").write_bytes(b"nothing")
        steps = [update.step async for update in client.analyze(tmp_path / "broken.wav")]
        assert (steps[0], steps[-1]) == ("started", "failed")
    async with AnalysisClient(f"http://127.0.0.1:{free_port()}") as nobody:
        with pytest.raises(ClientError, match="unreachable"):
            [update async for update in nobody.analyze(speech)]


async def test_a_live_session_is_annotated_and_digested(cluster):
    async with (
        asyncio.timeout(WITHIN_S),
        AnalysisClient(cluster.http()) as client,
        connect(cluster.url(), language="en", annotations=True, analyze="entities,topics") as session,
    ):
        await session.send(fixture("jfk.flac").tobytes())
        await session.flush()
        async for event in session:
            if event["type"] == "annotation" and event["kind"] == "entities":
                break
        assert event["data"]["entities"][0]["text"] == "Americans"
        digest = await client.digest(session.id)
        assert digest["entities"]["entities"][0]["text"] == "Americans"
        assert digest["topics"]["status"] == "done"
        await session.end()
        with pytest.raises(ClientError, match="session_not_found"):
            await client.digest("s_unknown")


def test_the_client_without_await(quick, gate, speech):
    gate.open()
    with Parlando(quick.http()) as client:
        updates = list(client.analyze(speech, language="en"))
        assert kept(updates) == [*enumerate(KEPT, start=1)]
        task = updates[-1].task_id
        assert client.task(task)["status"] == "completed"
        assert [update.seq for update in client.updates(task, after=9)] == [10]
        assert client.cancel(task)["status"] == "deleted"
        with pytest.raises(ClientError, match="session_not_found"):
            client.digest("s_unknown")


# --- the command line -------------------------------------------------------------------------------


def test_the_command_line_prints_a_report(cluster, tmp_path):
    done = parlando(cluster, "analyze", JFK, "--insights", "--translate-to", "de")
    assert done.returncode == 0, done.stderr
    sections = dict(part.split("\n", 1) for part in done.stdout.split("\n\n"))
    assert "ask what you can do for your country" in sections["Transcript (en, 0:11)"]
    assert "NORP: Americans" in sections["Entities"]
    assert "country" in sections["Keywords"]
    assert sections["Key sentences"].startswith("  0:0")
    assert {"Topics", "Sentiment"} <= {*sections}
    assert sections["Not available"].count("LLM_MODEL") == 2, "each reason once"
    assert "  summary, insights: no model configured" in sections["Not available"]
    assert done.stderr == ""

    out = tmp_path / "report.txt"
    written = parlando(cluster, "analyze", JFK, "--out", out)
    assert (written.returncode, written.stdout) == (0, "")
    assert "NORP: Americans" in out.read_text()


def test_the_command_line_prints_json(quick, gate, speech):
    gate.open()
    result = json.loads(parlando(quick, "analyze", speech, "--language", "en", "--json").stdout)
    assert result["transcript"].split() == script(0, 8)
    assert result["results"]["keywords"]["keywords"][0]["text"] == "engine"
    report = parlando(quick, "analyze", speech, "--language", "en").stdout
    assert "Entities\n  PERSON: Ada (2)\n" in report
    assert "Key sentences\n  1:01 A sentence.\n" in report

    done = parlando(quick, "transcribe", speech, "--analyze", "entities,topics", "--format", "json")
    annotations = json.loads(done.stdout)["annotations"]
    assert [each["kind"] for each in annotations] == ["entities", "topics"]


def test_the_command_line_shows_the_progress_on_a_terminal(quick, gate, speech):
    gate.open()
    if not shutil.which("script"):
        pytest.skip("the program `script` makes the terminal")
    words = " ".join(_command(quick, "analyze", speech, "--language", "en"))
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout
    assert "%" in done.stdout
    assert "speech.wav: " in done.stdout
    assert "mathematics (0.50)" in done.stdout


def test_what_fails_is_one_sentence_and_status_1(quick, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"nothing" * 100)
    done = parlando(quick, "analyze", tmp_path / "broken.wav")
    assert (done.returncode, done.stdout) == (1, "")
    assert "can't be decoded" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_ctrl_c_cancels_the_task(quick, gate, speech):
    jobs = f"{quick.http()}/v1/stt/jobs"

    def newest() -> str:
        found = httpx.get(jobs, params={"limit": 1}, timeout=WITHIN_S).json()["jobs"]
        return found[0]["job_id"] if found else ""

    before = newest()
    running = subprocess.Popen(
        _command(quick, "analyze", speech),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process in the background of a shell inherits that the signal is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: newest() != before)
    task = f"{quick.http()}/audio/tasks/{newest()}"
    until(lambda: httpx.get(task, timeout=WITHIN_S).json()["step"] == "classification")
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=WITHIN_S)
    assert running.returncode != 0
    assert "Traceback" not in output + errors
    assert httpx.get(task, timeout=WITHIN_S).json()["status"] == "cancelled"


def test_without_an_analyzer_the_command_line_says_how_to_start_one(speech):
    with Cluster(transcribers=0) as without:
        done = parlando(without, "analyze", speech)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ANALYZER=1 make run" in done.stderr


# --- the JavaScript SDK -----------------------------------------------------------------------------


def _node(cluster: Cluster, file: Path, **options: object) -> list[str]:
    script = Path(__file__).with_name("analysis.mjs")
    return ["node", str(script), str(SDK), cluster.http(), str(file), json.dumps(options)]


@needs_node
def test_the_javascript_sdk_survives_a_killed_gateway(quick, gate, speech):
    with subprocess.Popen(_node(quick, speech, language="en"), stdout=subprocess.PIPE, text=True) as process:
        printed = []
        for line in process.stdout:
            printed.append(json.loads(line))
            if printed[-1].get("step") == "classification" and printed[-1]["seq"]:
                quick.gateways[0].kill()
                quick.restart_gateway()
                gate.open()
    assert process.returncode == 0
    first, *updates, last = printed
    steps = [(update["seq"], update["step"]) for update in updates if update["seq"]]
    assert steps == [*enumerate(KEPT, start=1)]
    assert first["task"] == last["state"]["task_id"]
    assert last["state"]["status"] == "completed"
    assert last["state"]["result"] == updates[-1]["partial_result"]
    assert last["again"] == [4, 5, 6, 7, 8, 9, 10]
    assert last["deleted"]["status"] == "deleted"


@needs_node
def test_the_javascript_sdk_rejects_with_the_gateways_reason(quick, speech):
    done = subprocess.run(
        _node(quick, speech, translateTo="not a code"), capture_output=True, text=True, timeout=WITHIN_S
    )
    refused = json.loads(done.stdout)
    assert refused["code"] == "invalid_request"
    assert "target_language" in refused["message"]
