"""Recorded files as jobs: any file, and results in every form."""

import base64
import hashlib
import hmac
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import srt
import webvtt
from standardwebhooks import Webhook
from whisper.normalizers import EnglishTextNormalizer

from support.cluster import Cluster
from support.endpoint import served
from support.jobs import events, look, submit, transcribe, wait, wav
from support.perfect import PERFECT, script, silence, speak
from support.ports import free_port
from support.speech import JFK, fixture, words

WORDS = words("jfk.flac")
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--virtual-time-budget=3000",
]
PLAYER = """<video><track default src="data:text/vtt;base64,VTT"></video><pre></pre><script>
    const [track, shown] = [document.querySelector("track"), document.querySelector("pre")];
    track.track.mode = "showing";
    track.onload = () => shown.textContent =
        "cues:" + [...track.track.cues].map(cue => cue.startTime + " " + cue.text).join("|") + ":end";
    track.onerror = () => shown.textContent = "broken";</script>"""
normal = EnglishTextNormalizer()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(
        transcribers=2, processors=1, ALLOW_URL_FETCH="1", ALLOW_PRIVATE_URLS="1", MAX_UPLOAD_MB="40"
    ) as c:
        yield c


@pytest.fixture(scope="module")
def perfect():
    with Cluster(transcribers=2, processors=1, **PERFECT) as cluster:
        yield cluster


def test_a_file_is_transcribed_and_its_audio_is_deleted(cluster):
    base = cluster.http()
    job = submit(base, JFK, words="true")
    assert job["status"] == "uploaded"
    assert job["status_url"] == f"{base}/v1/stt/jobs/{job['job_id']}"
    done = wait(base, job["job_id"])
    assert done["status"] == "completed"
    assert (done["progress"], done["audio_seconds"], done["eta_s"], done["attempts"]) == (1.0, 11.0, 0.0, 1)
    assert (done["filename"], done["error"]) == ("jfk.flac", None)
    result = done["result"]
    assert normal(result["text"]) == WORDS
    assert (result["job_id"], result["language"], result["duration"]) == (job["job_id"], "en", 11.0)
    assert {"id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob"} <= set(
        result["segments"][0]
    )
    words = [word for segment in result["segments"] for word in segment["words"]]
    assert normal(" ".join(word["word"] for word in words)) == WORDS
    deadline = time.monotonic() + 60
    while list(cluster.blobs.rglob("jobs/*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_results_come_in_every_form(cluster):
    base = cluster.http()
    done = wait(base, submit(base, JFK)["job_id"])

    def result(form: str) -> httpx.Response:
        return httpx.get(f"{base}/v1/stt/jobs/{done['job_id']}/result", params={"format": form})

    assert result("json").json() == done["result"]
    assert normal(result("text").text) == WORDS
    assert result("text").headers["content-type"].startswith("text/plain")
    cues = list(srt.parse(result("srt").text))
    assert normal(" ".join(cue.content for cue in cues)) == WORDS
    captions = webvtt.from_buffer(io.StringIO(result("vtt").text)).captions
    assert normal(" ".join(caption.text for caption in captions)) == WORDS
    rows = [line.split("\t") for line in result("tsv").text.splitlines()]
    assert normal(" ".join(row[2] for row in rows[1:])) == WORDS
    assert result("pdf").status_code == 422


@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium isn't installed")
def test_a_browser_loads_the_subtitles(cluster, tmp_path):
    base = cluster.http()
    done = wait(base, submit(base, JFK)["job_id"])
    vtt = httpx.get(f"{base}/v1/stt/jobs/{done['job_id']}/result", params={"format": "vtt"}).text
    page = tmp_path / "page.html"
    page.write_text(PLAYER.replace("VTT", base64.b64encode(vtt.encode()).decode()))
    command = ["chromium", *CHROMIUM, f"--user-data-dir={tmp_path}/profile", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=600).stdout
    cues = shown.partition("cues:")[2].partition(":end")[0].split("|")
    assert normal(" ".join(cue.partition(" ")[2] for cue in cues)) == WORDS


def test_events_tell_progress_and_segments_in_order_and_can_be_resumed(perfect):
    base = perfect.http()
    pcm = np.concatenate(
        [speak(10) if n % 2 else np.concatenate([speak(10, first=20 * n), silence(3.5)]) for n in range(8)]
    )
    job = submit(base, wav(pcm))["job_id"]
    seen = events(base, job)
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "completed"
    shares = [event["progress"] for event in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    segments = [segment for event in seen for segment in event.get("segments", ())]
    assert len([event for event in seen if event["type"] == "segments"]) >= 4
    starts = [segment["start"] for segment in segments]
    assert starts == sorted(starts)
    assert events(base, job, after=3) == seen[3:]
    assert {event["status"] for event in seen} >= {"processing_audio", "transcribing", "completed"}


def test_silence_and_noise_are_no_words(cluster):
    noise = np.random.default_rng(1).normal(0, 50, 16_000 * 5)
    for pcm in (silence(60), noise):
        result = transcribe(cluster.http(), wav(pcm))
        assert (result["text"], result["segments"]) == ("", [])


def test_each_channel_is_a_speaker_if_that_is_wished(cluster):
    """One asks while the other is silent; their segments are in the order in which they speak."""
    first, second = fixture("jfk.flac"), fixture("1688-142285-0003.flac")
    length = len(first) + len(second) + 32_000
    pcm = np.zeros((length, 2), np.int16)
    pcm[: len(first), 1] = first
    pcm[len(first) + 16_000 : len(first) + 16_000 + len(second), 0] = second
    base = cluster.http()
    job = submit(base, wav(pcm.reshape(-1), channels=2), channels="split")["job_id"]
    result = wait(base, job)["result"]
    speakers = [segment["speaker"] for segment in result["segments"]]
    assert speakers == sorted(speakers, reverse=True)
    assert set(speakers) == {"SPEAKER_00", "SPEAKER_01"}
    said = " ".join(segment["text"] for segment in result["segments"] if segment["speaker"] == "SPEAKER_01")
    assert normal(said) == WORDS
    vtt = httpx.get(f"{base}/v1/stt/jobs/{job}/result?format=vtt").text
    assert "<v SPEAKER_01>And so" in vtt


def test_what_cannot_be_decoded_fails_with_the_reason(cluster):
    base = cluster.http()
    for data in (b"hello, world" * 500, wav(silence(1))[:30], b"\0"):
        done = wait(base, submit(base, data)["job_id"])
        assert done["status"] == "failed"
        assert done["error"]["code"] == "invalid_audio"
        assert len(done["error"]["message"]) > 30
        refused = httpx.get(f"{base}/v1/stt/jobs/{done['job_id']}/result")
        assert refused.status_code == 409
        assert done["error"]["message"] in refused.json()["detail"]


def test_requests_that_do_not_fit_are_refused_and_leave_nothing(cluster):
    base = f"{cluster.http()}/v1/stt/jobs"
    audio = {"file": ("a.wav", wav(silence(1)))}

    def refused(status: int, said: str, **request) -> None:
        answer = httpx.post(base, timeout=600, **request)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert said in answer.json()["detail"]

    refused(400, "Expected a file", data={"language": "en"}, files={"other": b"x"})
    refused(400, "multipart form", content=b"x")
    refused(400, "channels", files=audio, data={"channels": "all"})
    refused(400, "language", files=audio, data={"language": "!!"})
    refused(400, "moonshine-tiny (en;", files=audio, data={"language": "de"})
    refused(400, "can't translate", files=audio, data={"task": "translate"})
    refused(400, "URL", files=audio, data={"callback_url": "ftp://x/y"})
    refused(400, "url", json={"language": "en"})
    refused(400, "URL", json={"url": "file:///etc/passwd"})
    refused(400, "JSON", content=b"{", headers={"content-type": "application/json"})
    refused(413, "41943040", files={"file": b"x" * (41 << 20)})
    assert list(cluster.blobs.rglob("jobs/*")) == []
    for path in ("j_00", "j_" + "0" * 30):
        assert httpx.get(f"{base}/{path}").status_code in (404, 422)
        assert httpx.delete(f"{base}/{path}").status_code in (404, 422)


def test_the_same_idempotency_key_gives_the_same_job(cluster):
    base, headers = cluster.http(), {"Idempotency-Key": "order 66"}
    first = submit(base, JFK, headers=headers)
    assert submit(base, JFK, headers=headers)["job_id"] == first["job_id"]
    other = httpx.post(f"{base}/v1/stt/jobs", files={"file": wav(silence(1))}, headers=headers)
    assert other.status_code == 409
    assert wait(base, first["job_id"])["status"] == "completed"


def test_a_url_is_fetched(cluster, tmp_path):
    base = cluster.http()
    port = free_port()
    (tmp_path / "folder").mkdir()  # the server answers /folder with a redirect to /folder/
    shutil.copy(JFK, tmp_path / "folder" / "index.html")
    shutil.copy(JFK, tmp_path / "jfk.flac")
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", tmp_path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.5)
        (tmp_path / "big.wav").write_bytes(bytes(41 << 20))
        for path, code in (
            ("jfk.flac", None),
            ("folder", None),
            ("nothing.flac", "url_failed"),
            ("big.wav", "url_refused"),
        ):
            answer = httpx.post(f"{base}/v1/stt/jobs", json={"url": f"http://127.0.0.1:{port}/{path}"})
            assert answer.status_code == 202
            done = wait(base, answer.json()["job_id"])
            assert (done["error"] or {"code": None})["code"] == code
        assert list(cluster.blobs.rglob("jobs/*")) == []
    finally:
        server.kill()


def test_a_callback_gets_the_result_signed_and_again_if_it_fails(perfect):
    """Signed by the secret of the gateway, or by the key that submitted the job."""
    with (
        served(lambda number, body: (503 if number == 1 else 200, {}, b"")) as hook,
        Cluster(processors=1, API_KEYS="key-1,key-2", ALLOW_PRIVATE_URLS="1", **PERFECT) as cluster,
    ):
        base = cluster.http()
        job = submit(base, wav(speak(3)), key="key-2", callback_url=f"{hook.url}/done")["job_id"]
        deadline = time.monotonic() + 60
        while len(hook.requests) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for path, headers, body in hook.requests:
            assert path == "/done"
            stamp, _, signature = headers["x-parlando-signature"].partition(",v1=")
            at = stamp.removeprefix("t=")
            made = hmac.new(b"key-2", f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(signature, made)
            assert headers["idempotency-key"] == job
            Webhook(b"key-2").verify(body, headers)  # raises if it isn't signed as Standard Webhooks are
            told = json.loads(body)
            assert told["result"]["text"].split() == script(0, 3)
        assert look(base, job, key="key-2")["result"] == told["result"]
        # a key sees its own jobs only
        other = {"Authorization": "Bearer key-1"}
        assert httpx.get(f"{base}/v1/stt/jobs/{job}", headers=other).status_code == 404
        assert httpx.get(f"{base}/v1/stt/jobs", headers=other).json()["jobs"] == []
        mine = httpx.get(f"{base}/v1/stt/jobs", headers={"Authorization": "Bearer key-2"}).json()["jobs"]
        assert [j["job_id"] for j in mine] == [job]


def test_a_callback_that_was_given_up_is_listed_and_retried_by_its_owner():
    """410 says that no repeat is wanted, so it's a dead letter at once; its owner alone sees it."""

    def key(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {name}"}

    with (
        served(lambda number, body: (410 if number <= 2 else 200, {}, b"gone")) as hook,
        Cluster(
            gateways=2, processors=1, API_KEYS="key-1,key-2", ALLOW_PRIVATE_URLS="1", **PERFECT
        ) as cluster,
    ):
        base = cluster.http()
        kept, dropped = (
            submit(base, wav(speak(3, first=first)), key="key-2", callback_url=f"{hook.url}/done")["job_id"]
            for first in (0, 3)
        )

        def dead(name: str = "key-2", gateway: int = 0) -> list[dict]:
            url = f"{cluster.http(gateway)}/v1/deliveries"
            return httpx.get(url, headers=key(name)).json()["deliveries"]

        deadline = time.monotonic() + 60
        while len(dead()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        by_job = {each["job_id"]: each for each in dead(gateway=1)}
        assert set(by_job) == {kept, dropped}
        letter = by_job[kept]
        assert (letter["queue"], letter["state"], letter["attempts"]) == ("callback", "dead", 1)
        assert f"http://{letter['destination']}" == hook.url
        assert letter["error"] == {"code": "http_410", "message": "127.0.0.1 answered 410: gone"}

        one = f"{base}/v1/deliveries/{letter['id']}"
        assert dead("key-1") == []
        assert httpx.get(one, headers=key("key-1")).status_code == 404
        assert httpx.post(f"{one}/retry", headers=key("key-1")).status_code == 404
        assert httpx.delete(one, headers=key("key-1")).status_code == 404
        assert httpx.get(one).status_code == 401

        def cli(*words: str) -> str:
            environment = {**os.environ, "PARLANDO_URL": base, "PARLANDO_API_KEY": "key-2", "COLUMNS": "300"}
            command = [Path(sys.executable).with_name("parlando"), "deliveries", *words]
            return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

        assert "http_410" in cli("list")
        assert "dropped" in cli("drop", by_job[dropped]["id"])
        assert "ready" in cli("retry", "--all")
        while len(hook.requests) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while dead():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        _, headers, body = hook.requests[2]
        assert json.loads(body)["job_id"] == headers["idempotency-key"] == kept
        assert httpx.get(one, headers=key("key-2")).status_code == 404
        counts = httpx.get(f"{base}/v1/cluster", headers=key("key-1")).json()["deliveries"]
        assert set(counts) == {"archive", "callback", "notice", "push", "song"}
        assert 'parlando_gateway_dead_letters{queue="callback"}' in httpx.get(f"{base}/metrics").text


def test_private_addresses_are_refused_unless_allowed(perfect):
    base = f"{perfect.http()}/v1/stt/jobs"
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost"):
        answer = httpx.post(base, files={"file": b"x"}, data={"callback_url": f"http://{address}/hook"})
        assert answer.status_code == 400
        assert "ALLOW_PRIVATE_URLS=1" in answer.json()["detail"]
