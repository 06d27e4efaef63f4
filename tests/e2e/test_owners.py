"""Deleting and exporting everything of an owner: nothing of it is left, and nothing of others is gone."""

import asyncio
import io
import json
from contextlib import suppress
from zipfile import ZipFile

import httpx
import pytest
from typer.testing import CliRunner

from parlando.cli.app import app
from parlando.client import AuditClient, ClientError, KeysClient, connect
from parlando.ids import fingerprint
from support.bucket import KEYS, s3
from support.cluster import Cluster
from support.jobs import wav
from support.owner_data import PARTITIONS, WITHIN_S, WORDS, Buckets, Filled, Folders, fill, left_of
from support.perfect import PERFECT, script, speak
from support.redis_topologies import RedisClusterServers

ADMIN = {"Authorization": "Bearer gamma"}


@pytest.fixture(scope="module", params=["folders and one Redis", "S3 and a Redis Cluster"])
def places(request, tmp_path_factory):
    """The settings of a cluster, its Redis, and where its files are."""
    if request.param == "folders and one Redis":
        archive, blobs = tmp_path_factory.mktemp("archive"), tmp_path_factory.mktemp("blobs")
        yield {"ARCHIVE_URL": str(archive), "BLOB_URL": str(blobs)}, None, Folders(archive, blobs)
        return
    with s3("archive", "blobs") as (endpoint, client):
        urls = {"ARCHIVE_URL": "s3://archive/parlando", "BLOB_URL": "s3://blobs/parlando"}
        access = {name.removeprefix("aws_").removesuffix("_name"): value for name, value in KEYS.items()}
        settings = {
            f"{place}_{name}".upper(): value
            for place in ("archive", "blob")
            for name, value in access.items()
        }
        endpoints = {"ARCHIVE_ENDPOINT": endpoint, "BLOB_ENDPOINT": endpoint}
        yield {**urls, **endpoints, **settings}, RedisClusterServers(), Buckets(client, "archive", "blobs")


@pytest.fixture(scope="module")
def files(places):
    return places[2]


@pytest.fixture(scope="module")
def cluster(places):
    stores, redis, _ = places
    settings = {"API_KEYS": "alpha,beta,gamma", "PARTITIONS": str(PARTITIONS), **stores}
    with Cluster(
        transcribers=1,
        processors=1,
        redis=redis,
        ALLOW_PRIVATE_URLS="1",
        OMI_IDLE_S="600",
        **settings,
        **PERFECT,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def other(cluster, files):
    filled = Filled("beta", fingerprint("beta"), 900, "Berta Neighbour")
    asyncio.run(fill(cluster, files, filled))
    return filled


def _client(cluster, headers: dict) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=cluster.http(), headers=headers, timeout=WITHIN_S)


async def _stored(cluster, files) -> Filled:
    async with KeysClient(cluster.http(), api_key="gamma") as keys:
        scopes = ["live", "jobs", "read", "omi"]
        key = (await keys.create("Acme's key", scopes=scopes, owner="Acme"))["key"]
    filled = Filled(key, fingerprint("owner:Acme"), 100, "Anna Example")
    await fill(cluster, files, filled)
    filled.needles.add("Acme")  # the key's id stays for a month, so that no gateway stores it again
    return filled


async def _configured(cluster, files) -> Filled:
    filled = Filled("alpha", fingerprint("alpha"), 200, "Carla Example")
    await fill(cluster, files, filled)
    return filled


@pytest.mark.parametrize("make", [_stored, _configured])
async def test_an_owner_is_exported_and_deleted_without_a_trace(cluster, files, other, make):
    mine = await make(cluster, files)
    own = _client(cluster, mine.headers)
    admin = _client(cluster, ADMIN)
    name = mine.owner[:16]

    exported = await own.get("/v1/owners/me/export")
    assert exported.status_code == 200
    assert (await admin.get(f"/v1/owners/{name}/export")).status_code == 200
    _check_export(exported.content, mine)
    before = (await admin.get(f"/v1/owners/{name}")).json()["counts"]
    assert all(before[kind] for kind in before if kind != "keys"), before
    listed = (await admin.get("/v1/owners")).json()["owners"]
    assert {mine.owner[:16], other.owner[:16]} <= {each["owner"] for each in listed}

    async with connect(cluster.url(), api_key=mine.key) as live:
        await live.send(speak(WORDS, first=mine.first).tobytes())
        while not live.id:
            await asyncio.sleep(0.05)
        mine.needles.add(live.id)
        file = {"file": ("long.wav", wav(speak(600, first=mine.first)))}
        waiting = (await own.post("/v1/stt/jobs", files=file)).json()
        mine.needles.add(waiting["job_id"])
        while (await own.get(f"/v1/stt/sessions/{live.id}")).json()["received_ms"] == 0:
            await asyncio.sleep(0.05)
        done = (await admin.delete(f"/v1/owners/{name}")).json()
        with suppress(ClientError):  # or `closed`: it ends, and the client opens it no more
            async for _ in live:
                pass

    assert done.get("complete"), done
    deleted = done["deleted"]
    assert deleted["live_sessions_ended"] >= 1  # the user's; a revoked key's own has ended with the key
    assert deleted["sessions"] >= 4
    assert (deleted["jobs"], deleted["uploads"], deleted["known_speakers"]) == (2, 1, 1), deleted
    assert {"deliveries", "archived", "usage_records", "users"} <= {*deleted}
    assert await left_of(cluster, files, mine) == []
    again = (await admin.delete(f"/v1/owners/{name}")).json()
    assert (again["complete"], again["deleted"]) == (True, {})
    assert (await own.get(f"/v1/stt/jobs/{mine.job}")).status_code == (401 if make is _stored else 404)

    neighbour = _client(cluster, other.headers)
    for path in (f"/v1/stt/sessions/{other.session}/transcript", f"/v1/stt/jobs/{other.job}/result"):
        assert (await neighbour.get(path)).json()["text"] == other.text
    assert (await neighbour.get("/transcripts/u1")).json()["count"] == 1
    assert await left_of(cluster, files, other)
    noted = (await admin.get("/v1/audit", params={"action": "owner"})).json()["entries"]
    assert [(each["action"], each["object"]) for each in noted][-4:] == [
        ("owner.export", f"owner:{name}"),
        ("owner.export", f"owner:{name}"),
        ("owner.delete", f"owner:{name}"),
        ("owner.delete", f"owner:{name}"),
    ]
    for client in (own, admin, neighbour):
        await client.aclose()


def test_the_command_line_exports_sets_retention_and_shows_the_audit_log(cluster, other, tmp_path):
    def run(key: str, *words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--url", cluster.http(), "--key", key])
        assert done.exit_code == 0, done.output
        return done.output

    name, out = other.owner[:16], tmp_path / "mine.zip"
    assert "archived" in run("beta", "owners", "show")
    assert name in run("gamma", "owners", "list")
    assert "90 days" in run("gamma", "owners", "retention", name, "--transcripts", "90", "--audio", "1")
    assert "30 days" in run("beta", "owners", "retention", "--transcripts", "30")
    assert "1 day\n" in run("beta", "owners", "retention")
    run("beta", "owners", "export", "--out", str(out))
    _check_export(out.read_bytes(), other)
    lines = run("beta", "audit", "--action", "owner", "--owner", "me", "--json").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [each["action"] for each in entries][-2:] == ["owner.retention", "owner.export"]
    assert {each["owner"] for each in entries} == {name}
    assert f"owner:{name}" in run("gamma", "audit", "--since", "1h", "--action", "owner.retention")


async def test_the_audit_log_is_followed(cluster):
    async with AuditClient(cluster.http(), api_key="gamma") as audit:
        seen = audit.entries(action="token", follow=True)
        for _ in range(2):
            async with KeysClient(cluster.http(), api_key="gamma") as keys:
                await keys.token(seconds=7)
            async for entry in seen:
                if entry["object"] == "token:live seconds:7":
                    break
        await seen.aclose()


def _check_export(content: bytes, mine: Filled) -> None:
    archive = ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    names = archive.namelist()
    session = json.loads(archive.read(f"sessions/{mine.session}.json"))
    job = json.loads(archive.read(f"jobs/{mine.job}.json"))
    manifest = json.loads(archive.read("manifest.json"))
    [user] = [name for name in names if name.startswith("users/u1/") and name.endswith(".txt")]
    assert session["text"] == mine.text
    assert session["annotations"][0]["data"]["name"] == mine.person
    assert archive.read(f"sessions/{mine.session}.txt").decode() == f"{mine.text}\n"
    assert job["result"]["text"] == mine.text
    assert archive.read(f"jobs/{mine.job}.txt").decode() == f"{mine.text}\n"
    assert archive.read(user).decode().split() == script(mine.first, WORDS)
    assert json.loads(archive.read("speakers.json"))["speakers"][0]["name"] == mine.person
    day, *_ = json.loads(archive.read("usage.json"))["days"]
    assert day["audio_s"] > 0
    assert (names[-1], manifest["complete"]) == ("manifest.json", True)
    everything = b"".join(archive.read(name) for name in names)
    assert mine.person == "Berta Neighbour" or b"Berta" not in everything
    assert b"AAAA" not in everything, "no voices"
