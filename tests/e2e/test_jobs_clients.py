"""Jobs by the command line and the Python client."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import srt
from whisper.normalizers import EnglishTextNormalizer

from parlando.client import ClientError, JobsClient, Parlando
from parlando.store import keys as names
from support.cluster import Cluster
from support.jobs import submit, wait, wav
from support.perfect import PERFECT
from support.pools import POOL
from support.ports import free_port
from support.speech import JFK, fixture, words

WORDS = words("jfk.flac")
normal = EnglishTextNormalizer()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def perfect():
    with Cluster(transcribers=2, processors=1, **PERFECT) as cluster:
        yield cluster


def _parlando(cluster, *words) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("parlando"), *map(str, words), "--url", cluster.http()]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_the_command_line_transcribes_files_of_any_format(cluster, tmp_path):
    """Globs, several at a time, results in a folder; the exit status tells whether one failed."""
    for name in ("one.flac", "two.flac"):
        shutil.copy(JFK, tmp_path / name)
    (tmp_path / "one.wav").write_bytes(wav(fixture("1688-142285-0003.flac")))
    out = tmp_path / "out"
    done = _parlando(
        cluster, "transcribe", tmp_path / "*.*", "--format", "srt", "--out", out, "--parallel", 2
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == ["one.flac.srt", "one.wav.srt", "two.srt"]
    assert normal(" ".join(cue.content for cue in srt.parse((out / "two.srt").read_text()))) == WORDS

    done = _parlando(cluster, "transcribe", JFK, "--format", "json", "--words")
    assert json.loads(done.stdout)["segments"][0]["words"]

    (tmp_path / "broken.mp3").write_bytes(b"not audio" * 100)
    done = _parlando(cluster, "transcribe", tmp_path / "broken.mp3", JFK)
    assert done.returncode == 1
    assert "can't be decoded" in done.stderr
    assert normal(done.stdout) == WORDS

    done = _parlando(cluster, "transcribe", tmp_path / "nothing*.wav")
    assert done.returncode == 1
    assert "No file is called" in done.stderr


def test_the_command_line_lists_shows_and_deletes_jobs(cluster):
    job = wait(cluster.http(), submit(cluster.http(), JFK)["job_id"])["job_id"]
    listed = _parlando(cluster, "jobs", "list", "--limit", 200).stdout
    assert job in listed
    assert "jfk.flac" in listed
    shown = _parlando(cluster, "jobs", "show", job).stdout
    assert "completed" in shown
    assert WORDS in normal(shown)
    assert _parlando(cluster, "jobs", "cancel", job).stdout == "deleted\n"
    gone = _parlando(cluster, "jobs", "show", job)
    assert gone.returncode == 1
    assert "No job" in gone.stderr


async def test_the_python_client(cluster, tmp_path):
    told: list[int] = []
    async with JobsClient(cluster.http()) as jobs:
        result = await jobs.transcribe(JFK, words=True, sent=told.append)
        assert normal(result["text"]) == WORDS
        assert result["segments"][0]["words"]
        assert told[-1] == JFK.stat().st_size
        job = (await jobs.submit(JFK, idempotency_key="client"))["job_id"]
        assert (await jobs.submit(JFK, idempotency_key="client"))["job_id"] == job
        assert (await jobs.wait(job))["status"] == "completed"
        assert job in [found["job_id"] for found in await jobs.list(limit=100)]
        (tmp_path / "broken.wav").write_bytes(b"nothing")
        with pytest.raises(ClientError, match="invalid_audio"):
            await jobs.transcribe(tmp_path / "broken.wav")
        with pytest.raises(ClientError, match="can't translate"):
            await jobs.transcribe(JFK, task="translate")
    async with JobsClient(f"http://127.0.0.1:{free_port()}") as nobody:
        with pytest.raises(ClientError, match="unreachable"):
            await nobody.list()


async def test_a_caller_that_is_cancelled_cancels_its_job(perfect):
    async with JobsClient(perfect.http()) as jobs:
        store = perfect.store()
        shares = names.shares(0, POOL)
        store.hset(shares, "chunk:", 1000)  # nothing has room
        transcribing = asyncio.create_task(jobs.transcribe(JFK))
        await asyncio.sleep(1)
        newest = (await jobs.list(limit=1))[0]
        transcribing.cancel()
        await asyncio.wait([transcribing])
        assert (await jobs.job(newest["job_id"]))["status"] == "cancelled"
        store.delete(shares)


def test_the_client_without_await(cluster):
    with Parlando(cluster.http()) as parlando:
        assert normal(parlando.transcribe(JFK, language="en")["text"]) == WORDS
        job = parlando.submit(JFK)["job_id"]
        assert [event["type"] for event in parlando.events(job)][-1] == "completed"
        assert parlando.wait(job)["result"]["duration"] == 11.0
        assert "-->" in parlando.result(job, "srt")
        assert parlando.job(job)["status"] == "completed"
        assert parlando.list(limit=1)[0]["job_id"] == job
        assert parlando.cancel(job)["status"] == "deleted"
        with pytest.raises(ClientError, match="job_not_found"):
            parlando.job(job)
