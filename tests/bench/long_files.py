"""Recordings of many hours, and files of gigabytes: memory, disk and progress while they are transcribed.

`--part disk`, `silence`, `speech`, `words` runs one part only. `--hours 2` of speech with a real engine.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil
import soundfile

from bench.memory import Watch, folder_bytes
from bench.results import Table
from parlando.client import JobsClient
from support.cluster import Cluster
from support.perfect import PERFECT, speak
from support.speech import clips, load

Row = tuple[str, Any]
RATE: Final = 16_000
HOUR_S: Final = 3600
HOURS: Final = 10
DISK_BYTES: Final = 2 << 30
LIMITS: Final = {"MAX_UPLOAD_MB": "4096"}


# --- recordings -------------------------------------------------------------------------------------


def write(file: Path, blocks: Iterator[np.ndarray]) -> None:
    """A FLAC file of int16 blocks."""
    with soundfile.SoundFile(file, "w", RATE, 1, format="FLAC", subtype="PCM_16") as out:
        for block in blocks:
            out.write(block)


def mostly_silence(hours: float) -> Iterator[np.ndarray]:
    """A clip of read English every five minutes."""
    spoken = [load(clip.path) for clip in clips("a_english_read")]
    for number in range(int(hours * 12)):
        pcm = spoken[number % len(spoken)]
        yield pcm
        yield np.zeros(300 * RATE - len(pcm), np.int16)


def speech(hours: float) -> Iterator[np.ndarray]:
    """Clips of read English, half a second apart."""
    spoken = [load(clip.path) for clip in clips("a_english_read")]
    length, number = 0, 0
    while length < hours * HOUR_S * RATE:
        pcm = np.concatenate([spoken[number % len(spoken)], np.zeros(RATE // 2, np.int16)])
        yield pcm
        length, number = length + len(pcm), number + 1


def scripted_words(hours: float) -> Iterator[np.ndarray]:
    """Words of the scripted engine, two a second, with a pause after each twenty."""
    for number in range(int(hours * HOUR_S / 12)):
        yield speak(20, first=number * 20 % 20_000)
        yield np.zeros(2 * RATE, np.int16)


# --- measurements -----------------------------------------------------------------------------------


def followed(base: str, job: str, *, until: float = 1.0) -> tuple[int, float]:
    """Follow a job's events up to a share of its progress: their number, and the longest pause."""
    count, longest, before = 0, 0.0, time.monotonic()
    with httpx.stream("GET", f"{base}/v1/stt/jobs/{job}/events", timeout=HOUR_S) as answer:
        for line in answer.iter_lines():
            if not line.startswith("data: "):
                continue
            count, now = count + 1, time.monotonic()
            longest, before = max(longest, now - before), now
            event = httpx.Response(200, text=line[6:]).json()
            if event.get("progress", 0) >= until:
                break
    return count, longest


def result_rows(base: str, job: str) -> list[Row]:
    """Size and seconds of the result, and how long the gateway answers nothing else meanwhile."""
    rows: list[Row] = []
    for form in ("json", "text", "srt"):
        slowest, going = [0.0], [True]

        def ask(slowest: list[float] = slowest, going: list[bool] = going) -> None:
            with httpx.Client() as client:
                while going[0]:
                    began = time.monotonic()
                    client.get(f"{base}/ready", timeout=HOUR_S)
                    slowest[0] = max(slowest[0], time.monotonic() - began)

        asking = threading.Thread(target=ask)
        asking.start()
        began = time.monotonic()
        body = httpx.get(f"{base}/v1/stt/jobs/{job}/result", params={"format": form}, timeout=HOUR_S).content
        seconds = time.monotonic() - began
        going[0] = False
        asking.join()
        rows.append(
            (
                f"result as {form}: MB / seconds / slowest /ready beside it, seconds",
                f"{len(body) / (1 << 20):.2f} / {seconds:.2f} / {slowest[0]:.2f}",
            )
        )
    return rows


def left(cluster: Cluster) -> str:
    """What a cancelled job has left: bytes of files, FFmpeg processes, chunks in Redis."""
    deadline = time.monotonic() + 60
    while True:
        processor = psutil.Process(cluster.processors[0].process.pid)
        chunks = sum(cluster.store().xlen(key) for key in cluster.store().scan_iter("stt:*:chunks:*"))
        found = folder_bytes(cluster.blobs), len(processor.children()), chunks
        if not any(found) or time.monotonic() > deadline:
            return f"{found[0]} bytes, {found[1]} processes, {found[2]} chunks"
        time.sleep(0.2)


def job_rows(title: str, blocks: Iterator[np.ndarray], seconds: float, **environment: str) -> list[Row]:
    """One recording as a job, and once more up to its middle, where it is cancelled."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(transcribers=1, processors=1, **LIMITS, **environment) as cluster,
    ):
        file = Path(folder) / "long.flac"
        write(file, blocks)
        rows: list[Row] = [(f"{title}: hours / MB", f"{seconds / HOUR_S:g} / {file.stat().st_size >> 20}")]
        watch = Watch(cluster)
        watch.start()
        began = time.monotonic()
        job = asyncio.run(uploaded(cluster, file, words="true"))
        count, longest = followed(cluster.http(), job)
        rows.append(("seconds until it is completed", time.monotonic() - began))
        watch.stop()
        rows += [("events / longest pause between two, seconds", f"{count} / {longest:.1f}"), *watch.rows()]
        rows += result_rows(cluster.http(), job)
        job = asyncio.run(uploaded(cluster, file))
        followed(cluster.http(), job, until=0.4)
        httpx.delete(f"{cluster.http()}/v1/stt/jobs/{job}", timeout=60).raise_for_status()
        rows.append(("left after a cancellation in the middle", left(cluster)))
        return [(f"{what}" if title in what else f"{title}: {what}", figure) for what, figure in rows]


async def uploaded(cluster: Cluster, file: Path, **options: Any) -> str:
    async with JobsClient(cluster.http()) as jobs:
        job = await jobs.submit(file, resumable_from=1, **options)
        return str(job["job_id"])


def disk_rows() -> list[Row]:
    """A large file, resumably and in a form: the most bytes in the blob store, as a multiple of the file."""
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(transcribers=1, processors=1, MAX_JOB_HOURS="100", **LIMITS, **PERFECT) as cluster,
    ):
        file = Path(folder) / "large.wav"
        with soundfile.SoundFile(file, "w", 48_000, 2, format="WAV", subtype="PCM_16") as out:
            noise = np.random.default_rng(1).integers(-500, 500, (48_000 * 60, 2)).astype(np.int16)
            for _ in range(DISK_BYTES // noise.nbytes):
                out.write(noise)
        for way in ("resumably", "in a form"):
            free = psutil.disk_usage(folder).free
            watch = Watch(cluster)
            watch.start()
            began = time.monotonic()
            if way == "resumably":
                job = asyncio.run(uploaded(cluster, file))
            else:
                job = asyncio.run(in_a_form(cluster, file))
            seconds = time.monotonic() - began
            followed(cluster.http(), job)
            watch.stop()
            most = max(watch.seen["files of the blob store"]) * (1 << 20) / file.stat().st_size
            rows += [
                (f"{file.stat().st_size >> 20} MB {way}: seconds of the upload", seconds),
                (f"{way}: most bytes in the blob store, as a multiple of the file", most),
                (f"{way}: bytes left in the blob store", folder_bytes(cluster.blobs)),
                (f"{way}: MB less free disk afterwards", (free - psutil.disk_usage(folder).free) / (1 << 20)),
                *((f"{way}: {what}", figure) for what, figure in watch.rows()),
            ]
    return rows


async def in_a_form(cluster: Cluster, file: Path) -> str:
    async with JobsClient(cluster.http()) as jobs:
        return str((await jobs.submit(file, resumable_from=None))["job_id"])


def main() -> None:
    """Measure, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("disk", "silence", "speech", "words"))
    parser.add_argument("--hours", type=float, default=2, help="of speech with a real engine")
    given = parser.parse_args()
    parts = {
        "disk": disk_rows,
        "silence": lambda: job_rows("mostly silence", mostly_silence(HOURS), HOURS * HOUR_S),
        "speech": lambda: job_rows("speech", speech(given.hours), given.hours * HOUR_S),
        "words": lambda: job_rows("words", scripted_words(HOURS), HOURS * HOUR_S, **PERFECT),
    }
    name = f"long_files_{given.part}" if given.part else "long_files"
    table = Table(name, "Recordings of many hours and files of gigabytes", ("what", "figure"))
    for part, measure in parts.items():
        if given.part in (None, part):
            table.rows += measure()
    table.publish()


if __name__ == "__main__":
    main()
