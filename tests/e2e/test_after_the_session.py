"""What follows a user's session: the archive in an S3, pushes to a webhook, write-back, and a paid engine."""

import asyncio
import json
import time

import boto3
import httpx
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from api_gateway.deliveries.signature import verify
from support.cluster import Cluster
from support.endpoint import Endpoint, served
from support.perfect import PerfectEngine, script, silence, speak
from support.ports import free_port

RATE = 16_000
PERFECT = {"STT_ENGINE": "support.perfect:engine", "VAD": "rms", "OMI_IDLE_S": "2"}


def send(cluster, uid: str, pcm: np.ndarray) -> None:
    assert httpx.post(f"{cluster.http()}/streaming?uid={uid}", content=pcm.tobytes()).status_code == 200


async def until(condition, *, within_s: float = 120):
    """The first true answer of `condition`, asked in a thread again and again."""
    deadline = time.monotonic() + within_s
    while not (found := await asyncio.to_thread(condition)):
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.1)
    return found


async def test_transcripts_go_into_an_s3_when_it_can_be_reached():
    """The live path doesn't notice that the archive is away; it's tried again, counted, and shown."""
    port = free_port()
    with Cluster(
        **PERFECT,
        ARCHIVE_URL="s3://words/parlando",
        ARCHIVE_ENDPOINT=f"http://127.0.0.1:{port}",
        ARCHIVE_REGION="us-east-1",
        ARCHIVE_ACCESS_KEY_ID="key",
        ARCHIVE_SECRET_ACCESS_KEY="secret",
    ) as cluster:
        send(cluster, "s3", speak(6))
        report = await until(lambda: (a := cluster.health()["archive"])["failures"] and a)
        assert report["status"] == "failing"
        assert report["waiting"] == 1
        assert report["last_error"] == "archive_unavailable", "no text of an error, where no key is asked for"
        unreachable = httpx.get(f"{cluster.http()}/transcripts/s3", timeout=600)
        assert unreachable.json()["code"] == "unavailable"

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        s3.create_bucket(Bucket="words")
        await until(lambda: cluster.health()["archive"]["waiting"] == 0)
        [stored] = s3.list_objects_v2(Bucket="words")["Contents"]
        document = json.loads(s3.get_object(Bucket="words", Key=stored["Key"])["Body"].read())
        cluster.store().flushall()
        cluster.wait_ready(1)
        read = httpx.get(f"{cluster.http()}/transcripts/s3").json()
        deleted = httpx.delete(f"{cluster.http()}/transcripts/s3").json()
        left = s3.list_objects_v2(Bucket="words").get("Contents", [])
        server.stop()

    day = document["started_at"][:10].replace("-", "/")
    assert stored["Key"] == f"parlando/owner=none/uid=s3/{day}/{document['session_id']}.json"
    assert document["text"].split() == script(0, 6)
    assert read["transcripts"][0]["text"].split() == script(0, 6)
    assert deleted["deleted_from_archive"] == 1
    assert left == []


async def test_finals_are_pushed_signed_and_retried(tmp_path):
    """The first three attempts fail; every final arrives, none under two names."""

    def answer(number: int, body: bytes):
        return (503 if number <= 3 else 200), {}, b"{}"

    with (
        served(answer) as server,
        Cluster(
            **PERFECT,
            ARCHIVE_URL=str(tmp_path),
            OMI_TRANSCRIPT_WEBHOOK=f"{server.url}/hook?mine=1",
            OMI_TRANSCRIPT_WEBHOOK_SECRET="whsec_mine",
            OMI_WEBHOOK_ALLOW_PRIVATE="1",
        ) as cluster,
    ):
        send(cluster, "push", np.concatenate([speak(4), silence(1), speak(4, first=4), silence(1)]))

        def arrived() -> list[dict]:
            ok = {h["idempotency-key"]: json.loads(b) for _, h, b in server.requests[3:]}
            return [body for _, body in sorted(ok.items())] if len(ok) >= 2 else []

        bodies = await until(arrived)

    path, headers, body = server.requests[0]
    assert path == "/hook?mine=1&uid=push"
    assert verify(headers["x-omi-signature"], ["whsec_mine"], "push", body, now=time.time())
    segments = [segment for body in bodies for segment in body["segments"]]
    assert " ".join(segment["text"] for segment in segments).split() == script(0, 8)
    assert {"id", "speaker", "speaker_id", "is_user", "person_id", "start", "end"} <= segments[0].keys()


async def test_pushes_into_private_networks_are_refused(tmp_path):
    with (
        served(lambda number, body: (200, {}, b"{}")) as server,
        Cluster(**PERFECT, ARCHIVE_URL=str(tmp_path), OMI_TRANSCRIPT_WEBHOOK=server.url) as cluster,
    ):
        send(cluster, "push", np.concatenate([speak(4), silence(1)]))
        await until(lambda: "an address of a private network" in cluster.gateways[0].log.read_text())

    assert server.requests == []


async def test_transcripts_are_written_back_into_omi_if_that_is_wished(tmp_path):
    with (
        served(lambda number, body: (200 if number > 1 else 429, {}, b"{}")) as server,
        Cluster(
            **PERFECT,
            ARCHIVE_URL=str(tmp_path),
            OMI_WRITE_BACK="1",
            OMI_DEV_API_KEY="omi_dev",
            OMI_API_BASE=server.url,
            OMI_WEBHOOK_ALLOW_PRIVATE="1",
        ) as cluster,
    ):
        send(cluster, "back", speak(6))
        await until(lambda: len(server.requests) == 2)
        await until(lambda: cluster.health()["archive"]["waiting"] == 0)

    (path, headers, first), (_, _, second) = server.requests
    assert path == "/v1/dev/user/conversations/from-segments"
    assert headers["authorization"] == "Bearer omi_dev"
    assert json.loads(first) == json.loads(second)
    body = json.loads(first)
    assert body["client_session_id"].startswith("s_")
    assert " ".join(s["text"] for s in body["transcript_segments"]).split() == script(0, 6)


# --- a paid engine ----------------------------------------------------------------------------------


async def test_a_paid_engine_in_batches_is_asked_rarely_and_for_long_pieces(tmp_path):
    """Two minutes of Omi's audio: pieces of 10 to 30 s, cut in silences, every word once, the bill known."""
    sentences = [np.r_[speak(7, first=7 * n), silence(0.6)] for n in range(28)]
    pcm = np.concatenate(sentences)
    endpoint = Endpoint(PerfectEngine(), busy=1)
    with (
        served(endpoint) as server,
        Cluster(
            STT_ENGINE="openai",
            OPENAI_BASE_URL=f"{server.url}/v1",
            GROQ_API_KEY="gsk_test",
            VAD="rms",
            OMI_MODE="batch",
            OMI_IDLE_S="36",
            BATCH_DURATION_SECONDS="30",
            ARCHIVE_URL=str(tmp_path),
            PRICE_PER_HOUR_USD="0.04",
        ) as cluster,
    ):
        for at in range(0, len(pcm), RATE):
            send(cluster, "cheap", pcm[at : at + RATE])
        assert server.requests == [], "nothing is asked before the window is full"

        def closed() -> list[dict]:
            found = httpx.get(f"{cluster.http()}/transcripts/cheap").json()["transcripts"]
            return [t for t in found if t["state"] == "closed"]

        [transcript] = await until(closed, within_s=600)
        expected = sum(max(10, seconds) for seconds in endpoint.seconds)

        def billed() -> float:
            month = httpx.get(f"{cluster.http()}/stats").json()["current_month"]
            return month["billed_seconds"]

        await until(lambda: billed() == pytest.approx(expected, abs=0.01))

    length = len(pcm) / RATE
    print(f"\n{length:.0f} s in {len(endpoint.seconds)} requests of {[round(s) for s in endpoint.seconds]} s")
    assert transcript["text"].split() == script(0, 7 * 28)
    assert all(10 <= seconds <= 30 for seconds in endpoint.seconds[:-1])
    assert expected <= 1.15 * length
    assert b"whisper-large-v3-turbo" in server.requests[0][2]
    assert server.requests[0][1]["authorization"] == "Bearer gsk_test"


async def test_a_paid_engine_that_fails_is_said_and_costs_no_session(tmp_path):
    """An endpoint that refuses: the session closes, saying how much was not recognised."""
    refuse = (401, {"Content-Type": "application/json"}, b'{"error":{"message":"Invalid API Key"}}')
    with (
        served(lambda number, body: refuse) as server,
        Cluster(
            STT_ENGINE="openai",
            OPENAI_BASE_URL=f"{server.url}/v1",
            OPENAI_API_KEY="wrong",
            VAD="rms",
            OMI_IDLE_S="2",
            ARCHIVE_URL=str(tmp_path),
        ) as cluster,
    ):
        send(cluster, "refused", np.r_[speak(6), silence(1)])
        await until(lambda: "Invalid API Key" in cluster.transcribers[0].log.read_text())
        listed = await until(lambda: httpx.get(f"{cluster.http()}/transcripts/refused").json()["transcripts"])

    assert listed[0]["text"] == ""
