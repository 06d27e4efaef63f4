"""`parlando transcribe --watch`, as a process."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from parlando.cli.hot_folder import JOURNAL
from parlando.store import keys
from support.cluster import Cluster
from support.jobs import wav
from support.perfect import PERFECT, script, speak
from support.pools import POOL

LIMIT_S = 300


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1, **PERFECT) as cluster:
        yield cluster


@asynccontextmanager
async def watching(
    cluster: Cluster, folder: Path, *options: object
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command; on leaving it must end with 0 after Ctrl-C, without a traceback."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("parlando"),
        *map(str, ("transcribe", "--watch", folder, "--url", cluster.http(), *options)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        out, errors = await asyncio.wait_for(process.communicate(), LIMIT_S)
        assert process.returncode == 0, errors.decode()
        assert out == b""
        assert b"Traceback" not in errors
        process.said = errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def jobs(cluster: Cluster) -> list[dict]:
    return httpx.get(f"{cluster.http()}/v1/stt/jobs", params={"limit": 200}, timeout=600).json()["jobs"]


def holds(file: Path, words: list[str]) -> bool:
    return file.exists() and file.read_text().split() == words


async def test_recordings_are_transcribed_when_they_are_complete_and_once(cluster, tmp_path):
    """One grows while it is watched, one is in a subfolder, one is no audio; a restart repeats none."""
    inbox, out = tmp_path / "in", tmp_path / "out"
    (inbox / "monday").mkdir(parents=True)
    (inbox / "monday" / "b.wav").write_bytes(wav(speak(3, first=20)))
    (inbox / "broken.mp3").write_bytes(b"no audio" * 100)
    data = wav(speak(12))
    async with watching(cluster, inbox, "--out", out, "--settle", 1) as first:
        with (inbox / "a.wav").open("wb") as growing:
            for at in range(0, len(data), len(data) // 6):
                growing.write(data[at : at + len(data) // 6])
                growing.flush()
                await asyncio.sleep(0.4)
        await until(lambda: holds(out / "a.txt", script(0, 12)))
        await until(lambda: holds(out / "monday" / "b.txt", script(20, 3)))
        await until(lambda: "broken.mp3" in (out / JOURNAL).read_text())
    assert first.said.count("broken.mp3") == 1
    assert "can't be decoded" in first.said
    assert sorted(path.name for path in inbox.rglob("*.*")) == ["a.wav", "b.wav", "broken.mp3"], (
        "nothing moves"
    )
    done = {job["job_id"] for job in jobs(cluster)}

    async with watching(cluster, inbox, "--out", out, "--settle", 0) as second:
        (inbox / "c.wav").write_bytes(wav(speak(2, first=30)))
        await until(lambda: holds(out / "c.txt", script(30, 2)))
    assert [job["filename"] for job in jobs(cluster) if job["job_id"] not in done] == ["c.wav"]
    assert "broken.mp3" not in second.said
    entries = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    assert {entry["file"]: entry.get("result") or entry["error"] for entry in entries} == {
        "a.wav": "a.txt",
        "monday/b.wav": "monday/b.txt",
        "broken.mp3": "invalid_audio",
        "c.wav": "c.txt",
    }


async def test_results_beside_the_recordings_which_are_moved_if_asked_for(cluster, tmp_path):
    (tmp_path / "talk.wav").write_bytes(wav(speak(3)))
    done = tmp_path / "done"
    async with watching(cluster, tmp_path, "--format", "srt", "--settle", 0, "--move-to", done):
        await until(lambda: (done / "talk.wav").exists())
    assert "w0000 w0001 w0002" in (tmp_path / "talk.srt").read_text()
    assert not (tmp_path / "talk.wav").exists()


async def test_ctrl_c_cancels_the_job_that_runs(cluster, tmp_path):
    """The recording isn't finished, so the next start transcribes it."""
    (tmp_path / "talk.wav").write_bytes(wav(speak(3, first=40)))
    store, before = cluster.store(), {job["job_id"] for job in jobs(cluster)}
    store.hset(keys.shares(0, POOL), "chunk:", 1000)  # nothing has room
    try:
        async with watching(cluster, tmp_path, "--settle", 0):
            await until(lambda: {job["job_id"] for job in jobs(cluster)} > before)
    finally:
        store.delete(keys.shares(0, POOL))
    [job] = [job for job in jobs(cluster) if job["job_id"] not in before]
    assert job["status"] == "cancelled"
    async with watching(cluster, tmp_path, "--settle", 0):
        await until(lambda: holds(tmp_path / "talk.txt", script(40, 3)))


async def test_a_gateway_that_is_away_is_waited_for(tmp_path):
    with Cluster(transcribers=1, processors=1, **PERFECT) as cluster:
        cluster.gateways[0].kill()
        (tmp_path / "talk.wav").write_bytes(wav(speak(2)))
        async with watching(cluster, tmp_path, "--settle", 0) as process:
            line = b""
            while b"next try" not in line:
                line = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
            cluster.restart_gateway()
            await until(lambda: holds(tmp_path / "talk.txt", script(0, 2)))


async def test_what_cannot_be_watched_is_told(cluster, tmp_path):
    for words, expected in (
        (["--watch", tmp_path / "missing"], "is not a folder"),
        (["--watch", tmp_path, tmp_path], "Expected one folder to watch"),
    ):
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("parlando"),
            *map(str, ("transcribe", *words, "--url", cluster.http())),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), LIMIT_S)
        assert process.returncode == 1
        assert expected in errors.decode()
