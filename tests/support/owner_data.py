"""An owner with data of every kind in a cluster, and a search for what is left of it."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np

from parlando.client import connect
from parlando.domain.known_speakers import VoiceClip
from parlando.store.audit import AUDIT
from parlando.store.connection import connect as connect_redis
from parlando.store.known_speakers import KnownSpeakers
from support.bucket import objects
from support.cluster import Cluster
from support.jobs import submit, wait, wav
from support.perfect import script, silence, speak
from support.ports import free_port
from support.stored_state import stored_state

WITHIN_S = 600
WORDS = 3
PARTITIONS = 4


@dataclass
class Filled:
    """What was made. `needles`: ids, texts and fingerprints by which anything of it is found."""

    key: str
    owner: str
    first: int
    person: str
    session: str = ""
    live: str = ""
    job: str = ""
    upload: str = ""
    needles: set[str] = field(default_factory=set)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def text(self) -> str:
        return " ".join(script(self.first, WORDS))


class Files(Protocol):
    """Where the archive and the blobs of a cluster are."""

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """The name and the content of each file."""


class Folders:
    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def contents(self) -> Iterator[tuple[str, bytes]]:
        for path in (path for folder in self._folders for path in folder.rglob("*")):
            yield str(path), path.read_bytes() if path.is_file() else b""


class Buckets:
    """`client`: of boto3."""

    def __init__(self, client: Any, *buckets: str) -> None:
        self._client, self._buckets = client, buckets

    def contents(self) -> Iterator[tuple[str, bytes]]:
        for bucket in self._buckets:
            yield from objects(self._client, bucket)


async def fill(cluster: Cluster, files: Files, filled: Filled) -> None:
    """Make sessions, a user, jobs, an upload, a delivery, a viewer, names, a known speaker and a token."""
    base, first = cluster.http(), filled.first
    async with httpx.AsyncClient(base_url=base, headers=filled.headers, timeout=WITHIN_S) as http:
        async with connect(cluster.url(), api_key=filled.key) as session:
            await session.send(np.r_[speak(WORDS, first=first), silence(1)].tobytes())
            await session.end()
            async for _ in session:
                filled.session = session.id
        path = f"/v1/stt/sessions/{filled.session}"
        named = await http.put(f"{path}/speakers/SPEAKER_00", json={"name": filled.person})
        shared = await http.post(f"{path}/viewers", json={"label": filled.person})
        body = wav(np.r_[speak(WORDS, first=first), silence(1)])
        user = await http.post("/audio?uid=u1", content=body, headers={"content-type": "audio/wav"})
        running = await http.post(
            "/streaming?uid=u2&sample_rate=16000", content=speak(1, first=first).tobytes()
        )
        filled.job = submit(base, body, key=filled.key, callback_url=f"http://127.0.0.1:{free_port()}/")[
            "job_id"
        ]
        assert wait(base, filled.job, key=filled.key)["status"] == "completed"
        tus = {"Tus-Resumable": "1.0.0"}
        about = b64encode(filled.person.encode()).decode()
        begun = await http.post(
            "/v1/uploads",
            headers={**tus, "Upload-Length": "2000000", "Upload-Metadata": f"filename {about}"},
        )
        filled.upload = begun.headers["location"].rpartition("/")[2]
        part = await http.patch(
            f"/v1/uploads/{filled.upload}",
            content=body,
            headers={**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
        )
        token = await http.post("/v1/tokens", json={"sessions": 2})
        answers = (named, shared, user, running, begun, part, token)
        assert [each.status_code for each in answers] == [200, 201, 200, 200, 201, 204, 201], answers
        redis = connect_redis(cluster.redis.url)
        clip = VoiceClip(seconds=9.0, vector="AAAA", digest=filled.person)
        await KnownSpeakers(redis, partitions=PARTITIONS).add(filled.owner, filled.person, clip)
        await redis.aclose()
        until = time.monotonic() + WITHIN_S
        while not _archived(files, filled.owner):
            assert time.monotonic() < until, "the user's session is archived"
            await asyncio.sleep(0.05)
        while not (await http.get("/v1/deliveries?state=waiting&queue=callback")).json()["deliveries"]:
            assert time.monotonic() < until, "the callback waits for another attempt"
            await asyncio.sleep(0.05)
    filled.needles |= {
        filled.owner[:16],
        sha256(filled.owner.encode()).hexdigest()[:16],  # as lanes of deliveries name it
        filled.session,
        filled.job,
        filled.upload,
        filled.person,
        *script(first, WORDS),
    }


def _archived(files: Files, owner: str) -> bool:
    return any(
        f"owner={owner[:16]}/uid=u1/" in name for name, _ in files.contents() if name.endswith(".json")
    )


async def left_of(cluster: Cluster, files: Files, filled: Filled) -> list[str]:
    """Lines of Redis, and files, with one of the needles; without the audit log, which stays.

    Answers of scripts are left out: they are kept for a minute, for calls that are repeated.
    """
    redis = connect_redis(cluster.redis.url)
    lines = [
        line
        for line in await stored_state(redis)
        if AUDIT not in line and not (":answer:" in line and "'expires'" in line)
    ]
    await redis.aclose()
    lines += [f"{name} {content.decode('utf-8', 'replace')}" for name, content in files.contents()]
    return [line[:400] for line in lines if any(needle in line for needle in filled.needles)]
