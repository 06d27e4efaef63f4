"""Requests of Omi's backend and of its users, to a cluster of tests."""

import asyncio
import time
from pathlib import Path

import httpx

from support.cluster import Cluster


def get(cluster, path: str, *, key: str = "k1", gateway: int = 0, **params) -> httpx.Response:
    return httpx.get(f"{cluster.http(gateway)}{path}", params=params, headers={"X-API-Key": key}, timeout=600)


def post(cluster, path: str, body: bytes = b"", *, key: str | None = "k1", gateway: int = 0, **more):
    headers = {**({"X-API-Key": key} if key else {}), **more.pop("headers", {})}
    return httpx.post(f"{cluster.http(gateway)}{path}", content=body, headers=headers, timeout=600, **more)


async def transcripts(
    cluster, uid: str, *, count: int = 1, key: str = "k1", within_s: float = 600
) -> list[dict]:
    """The user's transcripts, oldest first, when `count` of them have closed."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await asyncio.to_thread(get, cluster, f"/transcripts/{uid}", key=key)
        found = answer.json()["transcripts"][::-1]
        if len([t for t in found if t["state"] == "closed"]) >= count:
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)


def words(found: list[dict]) -> list[str]:
    return " ".join(transcript["text"] for transcript in found).split()


def omi_cluster(archive: Path) -> Cluster:
    """A recogniser that makes no mistakes, and sessions that close two seconds after the last body."""
    return Cluster(
        gateways=2,
        transcribers=2,
        processors=1,
        STT_ENGINE="support.perfect:engine",
        VAD="rms",
        WORKER_SESSIONS="30",
        OMI_IDLE_S="3",
        ARCHIVE_URL=str(archive),
        API_KEYS="k1,k2",
        PRICE_PER_HOUR_USD="0.04",
    )


def moonshine_cluster(archive: Path) -> Cluster:
    """The real engine, with the same words under any load, in three partitions."""
    return Cluster(
        transcribers=1,
        processors=1,
        OMI_IDLE_S="3",
        PARTITIONS="3",
        PARTIAL_CADENCE="fixed",
        ARCHIVE_URL=str(archive),
    )
