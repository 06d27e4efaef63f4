"""What Omi users get: transcripts, usage, signatures, the app's own socket."""

import asyncio
import json
import time

import httpx
import numpy as np
import pytest
import websockets

from api_gateway.deliveries.signature import sign
from support.cluster import Cluster
from support.jobs import wav
from support.omi import Backend
from support.omi_calls import get, moonshine_cluster, omi_cluster, post, transcripts, words
from support.perfect import script, silence, speak
from support.speech import FIXTURES, fixture

SECRET = "whsec_test"
USERS = 20
MINUTES = 10
RATE = 16_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def cluster(archive):
    with omi_cluster(archive) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def moonshine(tmp_path_factory):
    with moonshine_cluster(tmp_path_factory.mktemp("archive")) as cluster:
        yield cluster


async def test_transcripts_are_paged_filtered_written_and_deleted(cluster, archive):
    for first in (0, 4, 8):
        post(cluster, "/audio?uid=pages", wav(speak(4, first=first)))
        await transcripts(cluster, "pages", count=first // 4 + 1)
    first = get(cluster, "/transcripts/pages", limit=2).json()
    second = get(cluster, "/transcripts/pages", limit=2, before=first["next"]).json()
    since = get(cluster, "/transcripts/pages", since=first["transcripts"][1]["started_at"]).json()
    text = get(cluster, "/transcripts/pages", format="text").text
    srt = get(cluster, "/transcripts/pages", format="srt").text
    deadline = time.monotonic() + 60
    while len(list(archive.glob("owner=*/uid=pages/*/*/*/*.json"))) < 3:
        assert time.monotonic() < deadline, "three documents under owner={key}/uid={uid}/{yyyy}/{mm}/{dd}"
        await asyncio.sleep(0.1)

    assert [t["text"].split()[0] for t in first["transcripts"]] == ["w0008", "w0004"]
    assert [t["text"].split()[0] for t in second["transcripts"]] == ["w0000"]
    assert second["next"] is None
    assert since["count"] == 2
    assert text.split() == script(0, 12)
    assert [word for word in srt.split() if word in script(0, 12)] == script(0, 12)
    assert get(cluster, "/transcripts/pages", key="k2").json()["count"] == 0, (
        "another key's user of that name"
    )

    cluster.store().flushall()  # transcripts outlive Redis
    cluster.wait_ready(2, 1)
    assert words(get(cluster, "/transcripts/pages").json()["transcripts"][::-1]) == script(0, 12)
    httpx.delete(f"{cluster.http()}/transcripts/pages", headers={"X-API-Key": "k2"})
    assert get(cluster, "/transcripts/pages").json()["count"] == 3
    httpx.delete(f"{cluster.http()}/transcripts/pages", headers={"X-API-Key": "k1"})
    assert get(cluster, "/transcripts/pages").json()["count"] == 0
    assert list(archive.glob("owner=*/uid=pages/*/*/*/*.json")) == []


async def test_a_buffer_can_be_cleared_and_that_is_said(cluster):
    post(cluster, "/streaming?uid=clear", np.r_[speak(4), silence(1)].tobytes())
    cleared = httpx.delete(f"{cluster.http()}/buffer/clear", headers={"X-API-Key": "k1"}).json()
    post(cluster, "/streaming?uid=clear", speak(4, first=4).tobytes())

    found = await transcripts(cluster, "clear", count=2)
    assert cleared["status"] == "cleared"
    assert words(found)[-4:] == script(4, 4)
    assert (
        httpx.delete(f"{cluster.http()}/buffer/nobody", headers={"X-API-Key": "k1"}).json()["status"]
        == "empty"
    )


async def test_audio_is_taken_while_no_worker_runs(tmp_path):
    """A deploy, say: the bodies wait in Redis, and are heard when a worker comes."""
    with Cluster(
        transcribers=0,
        STT_ENGINE="support.perfect:engine",
        VAD="rms",
        OMI_IDLE_S="3",
        ARCHIVE_URL=str(tmp_path),
    ) as cluster:
        assert post(cluster, "/streaming?uid=early", speak(8).tobytes(), key=None).status_code == 200
        cluster.add_transcriber()
        cluster.wait_ready(1)

        assert words(await transcripts(cluster, "early")) == script(0, 8)


def test_only_when_it_is_truly_full_omi_is_told_to_come_again(tmp_path):
    """No worker reads; a minute may wait. Then 503, which Omi tries again, and others are still served."""
    with Cluster(transcribers=0, OMI_BUFFER_MAX_S="60", ARCHIVE_URL=str(tmp_path)) as cluster:

        def status(uid: str, seconds: int) -> int:
            return post(cluster, f"/streaming?uid={uid}", speak(2 * seconds).tobytes(), key=None).status_code

        assert [status("full", s) for s in (30, 29)] == [200, 200]
        full = post(cluster, "/streaming?uid=full", speak(4, first=500).tobytes(), key=None)
        assert (full.status_code, full.headers["retry-after"]) == (503, "5")
        assert full.json()["code"] == "at_capacity"
        assert status("full", 1) == 200, "a second still fits"
        assert status("other", 30) == 200


async def test_usage_and_health(cluster, same_day):
    before = get(cluster, "/stats", key="k2").json()["current_month"]
    post(cluster, "/streaming?uid=usage", speak(60).tobytes(), key="k2")
    post(cluster, "/audio?uid=usage", wav(speak(60)), key="k2")
    assert get(cluster, "/stats/usage", key="k2").json()["last_body_at"]
    assert get(cluster, "/stats/nobody").status_code == 404
    await transcripts(cluster, "usage", count=2, key="k2")

    after = get(cluster, "/stats", key="k2").json()["current_month"]
    assert after["files_processed"] - before["files_processed"] == 2
    assert after["audio_seconds"] - before["audio_seconds"] == pytest.approx(60)
    assert after["total_cost_usd"] == round(after["audio_seconds"] / 3600 * 0.04, 4)


@pytest.mark.parametrize("path", ["/health", "/stats"])
async def test_a_user_with_new_audio_is_active(cluster, path):
    """A user is active for OMI_IDLE_S after the last audio, so audio is sent until the answer counts it."""
    async with asyncio.timeout(60):
        while get(cluster, path, key="k2").json()["active_users"] < 1:
            post(cluster, "/streaming?uid=active", speak(1).tobytes(), key="k2")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("policy", ["optional", "required"])
def test_signatures_are_checked_where_that_is_wished(cluster, policy):
    process = cluster.add_gateway(OMI_SIGNATURE=policy, OMI_SIGNATURE_SECRETS=f"whsec_old,bob={SECRET}")
    gateway = len(cluster.ports) - 1
    try:
        cluster.wait_ready(2)
        body, now, user = speak(2).tobytes(), int(time.time()), f"{policy}-bob"

        def status(header: str | None, uid: str) -> int:
            headers = {"X-Omi-Signature": header} if header else {}
            return post(cluster, f"/streaming?uid={uid}", body, gateway=gateway, headers=headers).status_code

        assert status(sign("whsec_old", user, body, at=now), user) == 200
        assert status(sign(SECRET, "bob", body, at=now), "bob") == 200
        assert status(sign(SECRET, user, body, at=now), user) == 401, "another user's secret"
        assert status(sign("whsec_old", user, body, at=now - 400), user) == 401, "too old"
        assert status(sign("whsec_old", user, body + b"x", at=now), user) == 401
        assert status(None, user) == (200 if policy == "optional" else 401)
        form = {"file": ("a.wav", wav(speak(2)))}
        headers = {"X-API-Key": "k1"}
        unsigned = httpx.post(f"{cluster.http(gateway)}/audio?uid={user}", files=form, headers=headers)
        assert unsigned.status_code == (200 if policy == "optional" else 401)
        failures = get(cluster, f"/stats/{user}").json()["signature_failures"]
        assert failures == (3 if policy == "optional" else 4)
    finally:
        process.kill()
        cluster.gateways.remove(process)
        cluster.ports.pop()


async def test_the_app_socket_sends_finals_only_and_the_tail_at_once(cluster):
    """Many frames, then CloseStream in the middle of a word's silence: the app waits for 500 ms."""
    pcm = speak(12)[:-2000].tobytes()
    for url in ("/omi/k1/stt?language=multi", "/omi/stt?api=x&token=k1&language=en-US"):
        async with websockets.connect(f"{cluster.url()}{url}") as socket:
            for at in range(0, len(pcm), 640):
                await socket.send(pcm[at : at + 640])
                await asyncio.sleep(0.002)
            await socket.send(json.dumps({"type": "CloseStream"}))
            closed = time.monotonic()
            said = [(json.loads(message), time.monotonic() - closed) async for message in socket]

        assert all(message.keys() == {"segments"} for message, _ in said)
        segments = [segment for message, _ in said for segment in message["segments"]]
        assert all(segment.keys() == {"text", "speaker", "start", "end"} for segment in segments)
        assert " ".join(segment["text"] for segment in segments).split() == script(0, 12)
        assert socket.close_code == 1000
        print(f"\nthe tail came {1000 * said[-1][1]:.0f} ms after CloseStream")
        assert said[-1][1] < 5

    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"{cluster.url()}/omi/wrong/stt")


async def test_real_speech_through_every_door(moonshine):
    """What a phone's owner gets of the same recording, door by door."""
    pcm = fixture("jfk.flac")
    backend = Backend(moonshine.http(), speed=100)
    for at in range(0, len(pcm), 5 * RATE):
        await backend.burst("/streaming", "jfk", RATE, pcm[at : at + 5 * RATE].tobytes())
    await backend.close()
    file = httpx.post(
        f"{moonshine.http()}/inference",
        files={"file": ("a.flac", (FIXTURES / "speech/jfk.flac").read_bytes())},
    )

    [found] = await transcripts(moonshine, "jfk")
    for text in (found["text"], file.json()["text"]):
        assert "ask what you can do for your country" in text.lower()
