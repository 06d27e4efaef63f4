"""Omi's doors: its backend's webhook in both forms, the app's socket, and what owners read."""

import asyncio
import time
from datetime import datetime

import httpx
import numpy as np
import pytest

from support.cluster import Cluster
from support.jobs import wav
from support.omi import Backend
from support.omi_calls import get, moonshine_cluster, omi_cluster, post, transcripts, words
from support.perfect import PERFECT, script, silence, speak
from support.speech import fixture
from support.streaming import stream

SECRET = "whsec_test"
USERS = 20
MINUTES = 4
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


async def test_minutes_of_twenty_users_lose_and_double_nothing(cluster):
    """Both forms, lost answers and their retries, two gateways, and two senders for one of the users."""
    count = MINUTES * 60 * 2
    backends = [Backend(cluster.http(g), speed=500, seed=g, patience_s=600) for g in range(2)]
    started = time.monotonic()

    async def new_form(number: int) -> None:
        audio = speak(count, first=number).tobytes()
        n = (3, 5, 10)[number % 3] * RATE * 2
        for at in range(0, len(audio), n):
            backend = backends[(number + at // n) % 2]  # a phone that comes back gets another process
            assert await backend.burst(
                "/omi/k1/streaming", f"u{number}", RATE, audio[at : at + n], lossy=0.03
            )

    async def old_form(number: int) -> None:
        audio = speak(count, first=number).tobytes()
        for at in range(0, len(audio), 30 * RATE * 2):
            url = "/audio?token=k1" if number % 2 else "/omi/k1/audio"
            body = audio[at : at + 30 * RATE * 2]
            assert await backends[number % 2].old(url, f"u{number}", RATE, body) == 200

    async def two_senders(number: int) -> None:
        """Two phones of one user at once: bodies mix, each stays whole."""

        async def one(backend: Backend, first: int) -> None:
            audio = speak(count // 2, first=first).tobytes()
            for at in range(0, len(audio), 5 * RATE * 2):
                assert await backend.burst(
                    "/omi/k1/streaming", f"u{number}", RATE, audio[at : at + 5 * RATE * 2]
                )

        await asyncio.gather(one(backends[0], number), one(backends[1], number + count // 2))

    await asyncio.gather(
        *(new_form(number) for number in range(14)),
        *(old_form(number) for number in range(14, USERS - 1)),
        two_senders(USERS - 1),
    )
    sent = time.monotonic() - started
    for number in range(USERS):
        found = await transcripts(cluster, f"u{number}")
        heard = words(found)
        if number == USERS - 1:
            heard = sorted(heard)
        assert heard == script(number, count), number
        assert len(found) == 1
    repeats = sum(get(cluster, f"/stats/u{n}").json()["repeats"] for n in range(USERS))
    print(f"\n{USERS * MINUTES} minutes in {sent:.0f} s, all words after {time.monotonic() - started:.0f} s;")
    print(f"{sum(b.statuses[200] for b in backends)} answers 200, {repeats} repeats")
    assert {status for b in backends for status in b.statuses} == {200}
    assert repeats > 30
    over_socket = await stream(cluster.url(), speak(100), speed=None, token="k1", interim=False)
    assert over_socket.words == script(0, 100)
    for backend in backends:
        await backend.close()


async def test_a_gateway_that_dies_in_the_middle_costs_nothing(tmp_path):
    """Its port is deaf for a while; Omi tries again after 1, 5 and 30 s, with the same keys, and gets on."""
    with Cluster(OMI_IDLE_S="25", ARCHIVE_URL=str(tmp_path), **PERFECT) as cluster:
        backend = Backend(cluster.http(), speed=4, jitter_s=0.02, ladder_s=(1.0, 5.0, 60.0))
        audio = speak(120).tobytes()
        sending = asyncio.create_task(backend.burst("/streaming", "deaf", RATE, audio, lossy=0.05))
        await asyncio.sleep(0.4)
        cluster.gateways[0].kill()
        await asyncio.sleep(0.5)
        cluster.gateways.append(cluster._process("api_gateway", "again", PORT=str(cluster.ports[0])))

        assert await sending
        assert backend.statuses["failed"] >= 1
        assert words(await transcripts(cluster, "deaf")) == script(0, 120)
        await backend.close()


async def test_a_dead_path_is_left_alone_for_a_while(cluster):
    """The simulator's own rule, which Omi's owners meet: five failed bursts open the breaker of a path."""
    backend = Backend(cluster.http(), speed=10)
    for _ in range(5):
        assert not await backend.burst("/omi/wrong/streaming", "u", RATE, b"\1\0" * 100)
    asked = sum(backend.statuses.values())
    assert not await backend.burst("/omi/wrong/streaming", "u", RATE, b"\1\0" * 100)
    assert sum(backend.statuses.values()) == asked == 5, "a 404 is final; the sixth burst isn't sent"
    assert await backend.burst("/omi/k1/streaming", "breaker", RATE, b"\1\0" * 100), "other paths go on"
    await backend.close()


async def test_eight_kilohertz_says_what_the_socket_says(moonshine):
    """Moonshine on real speech at 8 kHz, once through each door; no keys are needed on this machine."""
    narrow = fixture("jfk.flac")[::2].tobytes()
    over_socket = await stream(
        moonshine.url(), np.frombuffer(narrow, "<i2"), speed=4, sample_rate=8000, interim=False
    )
    backend = Backend(moonshine.http(), speed=100)
    for at in range(0, len(narrow), 5 * 16_000):
        assert await backend.burst("/streaming", "narrow", 8000, narrow[at : at + 5 * 16_000])
    await backend.close()

    [found] = await transcripts(moonshine, "narrow")
    assert found["text"] == over_socket.sentences
    assert found["duration"] == pytest.approx(11.0, abs=0.01)


def test_the_answer_has_the_fields_of_both_guides(cluster):
    body = speak(20).tobytes()
    queued = post(cluster, "/streaming?uid=fields&sample_rate=16000", body).json()
    ok = post(cluster, "/omi/k1/audio?uid=fields&sample_rate=16000", body[:-2]).json()

    assert queued["status"] == "queued"
    assert ok["status"] == "ok"
    assert queued["raw_bytes_received"] == queued["received_bytes"] == len(body)
    assert queued["size_mb"] == round(len(body) / (1 << 20), 2)
    assert queued["filename"].startswith("streaming_fields_")
    assert {"uid", "sample_rate", "message"} <= queued.keys()


def test_set_up_is_checked_on_every_path_a_user_may_type(cluster):
    for path in ("/streaming", "/audio", "/omi/setup", "/omi/k1/streaming", "/omi/k1/audio", "/omi/k1/setup"):
        assert get(cluster, path, uid="a").json() == {"is_setup_completed": True}


def test_an_unknown_key_is_404_and_says_so(cluster):
    for path in ("/omi/wrong/streaming?uid=a", "/omi/wrong/audio?uid=a", "/streaming?uid=a"):
        refused = post(cluster, path, b"\1\0" * 100, key=None)
        assert refused.status_code == 404, path
        assert refused.json()["code"] == "key_not_found"
    assert get(cluster, "/transcripts/a", key="wrong").status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/streaming", b"\0\0", 422),
        ("/streaming?uid=../etc", b"\0\0", 422),
        ("/streaming?uid=a&sample_rate=999999", b"\0\0", 422),
        ("/streaming?uid=a", b"", 400),
        ("/audio", b"\0\0", 400),
        ("/streaming?uid=a", bytes(33 << 20), 413),
    ],
)
def test_what_cannot_be_taken_is_refused_for_good(cluster, path, body, status):
    assert post(cluster, path, body).status_code == status


async def test_a_repeat_is_answered_and_ignored(cluster):
    """The same Idempotency-Key, or, without one, the same bytes within a minute; silence is no repeat."""
    pcm = speak(10).tobytes()
    for gateway in (0, 1):
        keyed = {"headers": {"Idempotency-Key": "one"}, "gateway": gateway}
        assert post(cluster, "/streaming?uid=again", pcm, **keyed).status_code == 200
        assert (
            post(cluster, "/streaming?uid=again", speak(10, first=10).tobytes(), gateway=gateway).status_code
            == 200
        )
    for _ in range(3):
        post(cluster, "/streaming?uid=again", bytes(16_000))

    [found] = await transcripts(cluster, "again")
    stats = get(cluster, "/stats/again").json()
    assert words([found]) == script(0, 20)
    assert found["duration"] == 10.0 + 1.5
    assert (stats["bodies"], stats["repeats"]) == (5, 2)


async def test_an_odd_byte_waits_for_the_next_body(cluster):
    pcm = speak(12).tobytes()
    for at in range(0, len(pcm), 9999):
        post(cluster, "/streaming?uid=odd", pcm[at : at + 9999])

    [found] = await transcripts(cluster, "odd")
    assert words([found]) == script(0, 12)


async def test_bodies_that_come_together_stay_whole(cluster):
    """Forty at once, through two gateways: each is appended alone, none is lost."""
    bodies = [speak(2, first=2 * n).tobytes() for n in range(40)]

    await asyncio.gather(
        *(
            asyncio.to_thread(post, cluster, "/streaming?uid=together", b, gateway=n % 2)
            for n, b in enumerate(bodies)
        )
    )

    [found] = await transcripts(cluster, "together")
    assert sorted(words([found])) == script(0, 80)


async def test_a_body_may_have_31_megabytes(cluster):
    pcm = np.r_[speak(10), silence(970), speak(10, first=10)]
    assert pcm.nbytes > 31 * 1_000_000
    assert post(cluster, "/streaming?uid=large", pcm.tobytes()).status_code == 200

    [found] = await transcripts(cluster, "large")
    assert words([found]) == script(0, 20)


async def test_another_rate_begins_another_session(cluster):
    post(cluster, "/streaming?uid=rates&sample_rate=16000", speak(6).tobytes())
    post(cluster, "/streaming?uid=rates&sample_rate=8000", bytes(16_000))
    post(cluster, "/streaming?uid=rates&sample_rate=16000", speak(6, first=6).tobytes())

    found = await transcripts(cluster, "rates", count=3)
    assert words(found) == script(0, 12)


async def test_wall_clock_times_skip_what_was_never_sent(tmp_path):
    """Omi doesn't send silence: two words that follow each other in the stream lay apart."""
    sent, answered = [], []
    with Cluster(OMI_IDLE_S="600", ARCHIVE_URL=str(tmp_path), **PERFECT) as cluster:
        for first in (0, 2):
            sent.append(time.time())
            post(cluster, "/streaming?uid=clock", speak(2, first=first).tobytes())
            answered.append(time.time())
            await asyncio.sleep(1.5 if first == 0 else 0)  # longer than the body: there is a gap
        [found] = get(cluster, "/transcripts/clock").json()["transcripts"]

    def moment(text: str) -> float:
        return datetime.fromisoformat(text).timestamp()

    # The first body's second ends when it comes, and so does that of the second body.
    rounded = 0.01
    assert sent[0] - rounded <= moment(found["started_at"]) + 1 <= answered[0] + rounded
    assert sent[1] - rounded <= moment(found["ended_at"]) <= answered[1] + rounded
    assert found["duration"] == 2.0


async def test_a_wav_is_a_recording_of_its_own(cluster):
    recording = wav(speak(8))
    raw = post(cluster, "/audio?uid=wav", recording)
    again = post(cluster, "/audio?uid=wav", recording)
    form = httpx.post(
        f"{cluster.http()}/audio",
        headers={"X-API-Key": "k1"},
        files={"file": ("a.wav", wav(speak(8, first=8)), "audio/wav")},
        data={"uid": "wav"},
    )

    assert [answer.status_code for answer in (raw, again, form)] == [200] * 3
    assert "received before" in again.json()["message"]
    assert sorted(words(await transcripts(cluster, "wav", count=2))) == script(0, 16)
