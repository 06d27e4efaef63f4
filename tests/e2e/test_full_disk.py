"""A disk that is full: what is refused, what waits, and that all goes on when it has room again."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from parlando.client import connect
from support.cluster import Cluster
from support.jobs import submit, wait, wav
from support.perfect import PERFECT, script, silence, speak
from support.redis_server import RedisServer
from support.streaming import check_promises, stream

MB = 1 << 20


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Path]:
    """A small file system in memory. Skips the test where it can't be mounted."""
    folder.mkdir()
    size = f"size={megabytes}m"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system can't be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing fits any more. Returns the file."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MB, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


async def said(cluster: Cluster, count: int, first: int = 0, **options: str) -> str:
    """A session of so many words, as fast as it goes. Returns its id."""
    heard = await stream(cluster.url(), np.r_[speak(count, first=first), silence(1)], speed=None, **options)
    check_promises(heard)
    assert heard.words == script(first, count)
    return heard.session.id


async def test_a_full_disk_of_uploads_and_archive_refuses_files_and_keeps_transcripts(tmp_path):
    """Live sessions go on. What the archive couldn't write is written when there is room."""
    with (
        mounted(tmp_path / "disk", 16) as disk,
        Cluster(
            processors=1, BLOB_URL=str(disk / "blobs"), ARCHIVE_URL=str(disk / "archive"), **PERFECT
        ) as cluster,
    ):
        recording = wav(np.r_[speak(4), silence(60)])
        filler = fill(disk)
        answer = httpx.post(f"{cluster.http()}/v1/stt/jobs", files={"file": recording})
        assert answer.status_code == 507, answer.text
        assert answer.json()["code"] == "storage_unavailable"
        length = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(recording))}
        refused = httpx.post(f"{cluster.http()}/v1/uploads", headers=length)
        assert refused.status_code in (413, 507), refused.text
        await said(cluster, 5, uid="ann")
        while cluster.health()["archive"]["last_error"] is None:
            await asyncio.sleep(0.1)
        waiting = httpx.get(f"{cluster.http()}/v1/deliveries", params={"state": "waiting"}).json()
        assert [each["queue"] for each in waiting["deliveries"]] == ["archive"]
        transcript = httpx.get(f"{cluster.http()}/transcripts/ann", params={"format": "text"})
        assert transcript.text.split() == script(0, 5), "it is in Redis"
        filler.unlink()
        job = submit(cluster.http(), recording)["job_id"]
        finished = await asyncio.to_thread(wait, cluster.http(), job)
        assert finished["result"]["text"].split() == script(0, 4)
        while not any((disk / "archive").rglob("*.json")):
            await asyncio.sleep(0.1)
        copy = shutil.copytree(disk / "archive", tmp_path / "copy")
        shutil.rmtree(disk / "archive")
        cluster.store().flushall()
        url = f"{cluster.http()}/transcripts/ann?format=text"
        assert script(0, 5)[0] not in httpx.get(url).text, "lost"
        shutil.copytree(copy, disk / "archive")
        assert httpx.get(url).text.split() == script(0, 5), "and restored from a copy of the folder"


async def test_a_full_disk_of_redis_stops_writes_and_loses_no_word_when_it_has_room_again(tmp_path):
    with mounted(tmp_path / "disk", 8) as disk:
        server = RedisServer(durable=True, within=disk)
        with Cluster(redis=server, **PERFECT) as cluster:
            async with asyncio.timeout(600), connect(cluster.url(), give_up_s=600) as session:
                await session.send(np.r_[speak(5), silence(1)].tobytes())
                heard = []
                async for event in session:
                    if event["type"] == "final":
                        heard += event["text"].split()
                        break
                filler = fill(disk)
                await session.send(np.r_[speak(5, first=5), silence(1)].tobytes())
                while cluster.store().info("persistence")["aof_last_write_status"] != "err":
                    await asyncio.sleep(0.1)
                while httpx.get(f"{cluster.http()}/ready").status_code != 503:
                    await asyncio.sleep(0.1)
                job = httpx.post(f"{cluster.http()}/v1/stt/jobs", files={"file": wav(speak(1))})
                assert job.status_code == 503, job.text
                assert "disk" in job.json()["detail"]
                filler.unlink()
                await session.send(np.r_[speak(5, first=10), silence(1)].tobytes())
                await session.end()
                async for event in session:
                    if event["type"] == "final":
                        heard += event["text"].split()
            assert heard == script(0, 15)
            while cluster.health()["status"] != "healthy":
                await asyncio.sleep(0.1)
