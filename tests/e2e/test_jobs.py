"""Recorded files as jobs: any file, results in every form, and whatever may go wrong on the way."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import shutil
import subprocess
import sys
import time
import wave
from pathlib import Path

import httpx
import jiwer
import numpy as np
import pytest
import srt
import webvtt
from whisper.normalizers import EnglishTextNormalizer

from parlando.audio import to_float
from parlando.client import ClientError, JobsClient, Parlando
from parlando.embedded.redis_server import free_port
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from support.cluster import Cluster
from support.endpoint import served
from support.jobs import events, look, submit, transcribe, wait
from support.perfect import script, silence, speak
from support.speech import FIXTURES, clips, fixture, load, rows
from support.streaming import check_promises, stream
from transcriber.engines.base import Window
from transcriber.engines.moonshine import MoonshineEngine

JFK = FIXTURES / "speech" / "jfk.flac"
WORDS = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)
PERFECT = {"STT_ENGINE": "support.perfect:engine", "VAD": "rms"}
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


def wav(pcm: np.ndarray, *, channels: int = 1) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm.astype("<i2").tobytes())
    return out.getvalue()


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


# --- one job ----------------------------------------------------------------------------------------


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
    deadline = time.monotonic() + 5
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
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
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
        answer = httpx.post(base, timeout=30, **request)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert said in answer.json()["detail"]

    refused(400, "Expected a file", data={"language": "en"}, files={"other": b"x"})
    refused(400, "multipart form", content=b"x")
    refused(400, "channels", files=audio, data={"channels": "all"})
    refused(400, "language", files=audio, data={"language": "!!"})
    refused(400, "knows (en)", files=audio, data={"language": "de"})
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
        deadline = time.monotonic() + 20
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
            told = json.loads(body)
            assert told["result"]["text"].split() == script(0, 3)
        assert look(base, job, key="key-2")["result"] == told["result"]
        # a key sees its own jobs only
        other = {"Authorization": "Bearer key-1"}
        assert httpx.get(f"{base}/v1/stt/jobs/{job}", headers=other).status_code == 404
        assert httpx.get(f"{base}/v1/stt/jobs", headers=other).json()["jobs"] == []
        mine = httpx.get(f"{base}/v1/stt/jobs", headers={"Authorization": "Bearer key-2"}).json()["jobs"]
        assert [j["job_id"] for j in mine] == [job]


def test_private_addresses_are_refused_unless_allowed(perfect):
    base = f"{perfect.http()}/v1/stt/jobs"
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost"):
        answer = httpx.post(base, files={"file": b"x"}, data={"callback_url": f"http://{address}/hook"})
        assert answer.status_code == 400
        assert "ALLOW_PRIVATE_URLS=1" in answer.json()["detail"]


# --- many jobs, and what goes wrong -------------------------------------------------------------------


def test_cancelling_stops_a_job_within_a_second_and_removes_everything():
    with Cluster(transcribers=1, processors=1, **PERFECT, PERFECT_DELAY_MS="300") as cluster:
        base = cluster.http()
        job = submit(base, wav(np.concatenate([np.concatenate([speak(8), silence(4)]) for _ in range(40)])))[
            "job_id"
        ]
        while look(base, job)["status"] != "transcribing":
            time.sleep(0.05)
        answer = httpx.delete(f"{base}/v1/stt/jobs/{job}")
        assert answer.json() == {"job_id": job, "status": "cancelled"}
        deadline = time.monotonic() + 1
        store = cluster.store()
        while (
            list(cluster.blobs.rglob("jobs/*")) or store.xlen("stt:{0}:chunks") or store.xlen("stt:{0}:jobs")
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert look(base, job)["status"] == "cancelled"
        assert "result" not in look(base, job)
        assert httpx.get(f"{base}/v1/stt/jobs/{job}/result").status_code == 409
        assert [event["type"] for event in events(base, job)] == ["cancelled"]
        assert httpx.delete(f"{base}/v1/stt/jobs/{job}").json()["status"] == "deleted"
        assert httpx.get(f"{base}/v1/stt/jobs/{job}").status_code == 404
        assert store.hgetall("stt:{0}:shares") == {}


def _long(minutes: float) -> tuple[np.ndarray, list[str]]:
    """Words with pauses of many lengths."""
    rng, parts, said = np.random.default_rng(3), [], []
    while sum(map(len, parts)) < minutes * 60 * 16_000:
        count = int(rng.integers(2, 30))
        parts += [speak(count, first=len(said) % 4000), silence(float(rng.choice([0.1, 0.4, 1.2, 3.5])))]
        said += script(len(said) % 4000, count)
    return np.concatenate(parts), said


@pytest.mark.timeout(120)
def test_killed_workers_change_nothing_in_the_result():
    """SIGKILL of a transcriber and of the audio-processor in the middle: the same segments to the letter."""
    pcm, said = _long(12)
    with Cluster(transcribers=2, processors=1, **PERFECT, PERFECT_DELAY_MS="60", MAX_CHUNKS="8") as cluster:
        base, data = cluster.http(), wav(pcm)
        undisturbed = transcribe(base, data, words="true")
        assert undisturbed["text"].split() == said
        for victims in (cluster.transcribers, cluster.processors, cluster.transcribers):
            job = submit(base, data, words="true")["job_id"]
            while look(base, job)["progress"] < 0.2:
                time.sleep(0.02)
            victims[-1].kill()
            (cluster.add_transcriber if victims is cluster.transcribers else cluster.add_processor)()
            done = wait(base, job)
            assert done["status"] == "completed", done["error"]
            assert done["result"]["segments"] == undisturbed["segments"]
            assert done["result"]["text"] == undisturbed["text"]


def test_a_worker_that_leaves_hands_its_chunks_and_jobs_over():
    pcm, said = _long(6)
    with Cluster(transcribers=2, processors=2, **PERFECT, PERFECT_DELAY_MS="100", MAX_CHUNKS="8") as cluster:
        base = cluster.http()
        job = submit(base, wav(pcm))["job_id"]
        while look(base, job)["progress"] < 0.2:
            time.sleep(0.02)
        assert cluster.transcribers[0].terminate() == 0
        for processor in cluster.processors[:1]:
            assert processor.terminate() == 0
        done = wait(base, job)
        assert done["result"]["text"].split() == said


def test_a_poisonous_chunk_fails_its_job_and_no_other(perfect):
    """The engine raises on one word, each time; the cluster lives on."""
    with Cluster(transcribers=2, processors=1, VAD="rms", STT_ENGINE="support.poison:engine") as cluster:
        base = cluster.http()
        bad = submit(
            base, wav(np.concatenate([speak(3), silence(4), speak(1, first=666), silence(4), speak(3)]))
        )
        good = submit(base, wav(speak(5)))
        done = wait(base, bad["job_id"])
        assert done["status"] == "failed"
        assert done["error"]["code"] == "chunk_failed"
        assert "Chunk 1 failed 3 times: word 666" in done["error"]["message"]
        assert wait(base, good["job_id"])["result"]["text"].split() == script(0, 5)
        assert transcribe(base, wav(speak(4)))["text"].split() == script(0, 4)
        assert all(t.process.poll() is None for t in cluster.transcribers)


def test_a_chunk_that_kills_its_workers_fails_its_job_and_no_other():
    with Cluster(transcribers=1, processors=1, VAD="rms", STT_ENGINE="support.poison:engine") as cluster:
        base = cluster.http()
        bad = submit(base, wav(np.concatenate([speak(3), silence(4), speak(1, first=999)])))["job_id"]
        deadline = time.monotonic() + 40
        while (found := look(base, bad))["status"] not in ("completed", "failed"):
            if cluster.transcribers[-1].process.poll() is not None:
                cluster.add_transcriber()
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        assert found["error"] == {
            "code": "chunk_failed",
            "message": "Chunk 1 failed 3 times: its transcribers died",
        }
        assert transcribe(base, wav(speak(4)))["text"].split() == script(0, 4)


def test_several_partitions_and_gateways(perfect):
    """Jobs lie in all partitions; any gateway knows them all, in the order in which they were submitted."""
    with Cluster(gateways=2, transcribers=2, processors=2, PARTITIONS="3", **PERFECT) as cluster:
        jobs = [submit(cluster.http(number % 2), wav(speak(3 + number)))["job_id"] for number in range(8)]
        for number, job in enumerate(jobs):
            assert wait(cluster.http(1), job)["result"]["text"].split() == script(0, 3 + number)
        pages = [httpx.get(f"{cluster.http()}/v1/stt/jobs", params={"limit": 5}).json()]
        pages.append(httpx.get(f"{cluster.http(1)}/v1/stt/jobs", params={"before": pages[0]["next"]}).json())
        assert [job["job_id"] for page in pages for job in page["jobs"]] == jobs[::-1]
        assert {key.split(":")[1] for key in cluster.store().keys("stt:*:job:*")} == {"{0}", "{1}", "{2}"}


def test_redis_without_memory_stops_jobs_but_loses_none(perfect):
    pcm, said = _long(3)
    base, store = perfect.http(), perfect.store()
    job = submit(base, wav(pcm))["job_id"]
    store.config_set("maxmemory", 1)
    try:
        time.sleep(2)
        refused = httpx.post(f"{base}/v1/stt/jobs", files={"file": wav(speak(1))}, timeout=30)
        assert refused.status_code == 503
        assert "out of memory" in refused.json()["detail"]
        assert perfect.health()["status"] == "healthy"
    finally:
        store.config_set("maxmemory", 0)
    assert wait(base, job)["result"]["text"].split() == said


def test_a_full_blob_store_is_said_and_the_cluster_lives_on(tmp_path):
    with (
        served(lambda number, body: (507, {}, b"")) as s3,
        Cluster(
            processors=1,
            **PERFECT,
            BLOB_URL="s3://audio",
            BLOB_ENDPOINT=s3.url,
            BLOB_ACCESS_KEY_ID="k",
            BLOB_SECRET_ACCESS_KEY="s",
        ) as cluster,
    ):
        answer = httpx.post(f"{cluster.http()}/v1/stt/jobs", files={"file": wav(speak(1))}, timeout=60)
        assert answer.status_code == 507
        assert answer.json()["code"] == "storage_unavailable"
        assert cluster.health()["status"] == "healthy"


@pytest.mark.timeout(180)
def test_two_hundred_jobs_at_once_are_fair_and_starve_nobody(perfect):
    """190 of one key, then 10 of another, done long before those; a live session goes on meanwhile."""
    with Cluster(
        transcribers=2, processors=1, API_KEYS="greedy,modest", **PERFECT, PERFECT_DELAY_MS="20"
    ) as cluster:
        base = cluster.http()
        data = wav(np.concatenate([speak(20), silence(1)]))
        ended: dict[str, float] = {}

        async def one(client: httpx.AsyncClient, key: str) -> tuple[str, float]:
            headers = {"Authorization": f"Bearer {key}"}
            answer = await client.post(f"{base}/v1/stt/jobs", files={"file": data}, headers=headers)
            url = answer.json()["status_url"]
            while True:
                found = (await client.get(url, headers=headers)).json()
                if found["status"] == "completed":
                    assert found["result"]["text"].split() == script(0, 20)
                    return key, time.monotonic()
                assert found["status"] not in ("failed", "cancelled"), found
                await asyncio.sleep(0.5)

        async def all_jobs():
            limits = httpx.Limits(max_connections=40)
            async with httpx.AsyncClient(timeout=120, limits=limits) as client:
                greedy = [asyncio.create_task(one(client, "greedy")) for _ in range(190)]
                await asyncio.sleep(1)
                modest = [asyncio.create_task(one(client, "modest")) for _ in range(10)]
                live = asyncio.create_task(
                    stream(
                        cluster.url(), np.concatenate([speak(20), silence(1)]), frame_ms=100, api_key="modest"
                    )
                )
                results = await asyncio.gather(*greedy, *modest)
                return results, await live

        results, heard = asyncio.run(all_jobs())
        check_promises(heard)
        assert heard.text.split() == script(0, 20)
        ended = {key: sorted(at for k, at in results if k == key) for key in ("greedy", "modest")}
        assert len(ended["greedy"]) == 190
        assert ended["modest"][-1] < ended["greedy"][100]


# --- real speech --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine():
    return MoonshineEngine(ModelStore().path(MOONSHINE_TINY))


def _rate(texts: list[str], heard: list[str]) -> float:
    return 100 * jiwer.wer([normal(t) for t in texts], [normal(h) or "nothing" for h in heard])


async def _all(base: str, files: list[Path], **fields: str) -> list[dict]:
    return await asyncio.gather(*(asyncio.to_thread(transcribe, base, file, **fields) for file in files))


async def _compare(cluster, engine, spoken: list[tuple[Path, str]]) -> float:
    """Word errors of files as jobs minus those of the engine on the whole clips, in points."""
    heard = await _all(cluster.http(), [path for path, _ in spoken])
    pcm = [to_float(load(path)) for path, _ in spoken]
    whole = [engine.transcribe([Window(x, final=True, voiced_s=len(x) / 16_000)])[0].text for x in pcm]
    texts = [text for _, text in spoken]
    got, bar = _rate(texts, [result["text"] for result in heard]), _rate(texts, whole)
    print(f"word errors of {len(spoken)} files: {got:.2f} % as jobs, {bar:.2f} % as whole clips")
    return got - bar


@pytest.mark.timeout(200)
async def test_words_are_those_that_the_engine_hears_of_whole_clips(cluster, engine):
    spoken = [(clip.path, clip.text) for clip in clips("a_english_read")]
    assert await _compare(cluster, engine, spoken) <= (0.5 if len(spoken) >= 60 else 2.0)


async def test_every_container_has_its_words(cluster, engine):
    spoken = [
        (path, row["text"])
        for path, row in rows("e_containers")
        if row.get("decodes", True) and not row.get("raw") and row.get("language") == "en" and row.get("text")
    ]
    assert len(spoken) >= 2
    assert await _compare(cluster, engine, spoken) <= 2.0


async def test_live_sessions_keep_their_pace_beside_a_long_job(cluster):
    """Beside a job that keeps both workers busy a live session says all its words, its finals on time."""
    base = cluster.http()
    long = np.concatenate([np.concatenate([fixture("two_cities.flac"), silence(1)]) for _ in range(12)])
    job = submit(base, wav(long))["job_id"]
    heard = await stream(cluster.url(), fixture("jfk.flac"), frame_ms=20)
    check_promises(heard)
    assert normal(heard.text) == WORDS
    assert wait(base, job)["status"] == "completed"


# --- the command line ---------------------------------------------------------------------------------


def _parlando(cluster, *words) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("parlando"), *map(str, words), "--url", cluster.http()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_line_transcribes_files_of_any_format(cluster, tmp_path):
    """Globs, several at a time, results in a folder; the exit status tells whether one failed."""
    for name in ("one.flac", "two.flac"):
        shutil.copy(JFK, tmp_path / name)
    (tmp_path / "one.wav").write_bytes(wav(fixture("1688-142285-0003.flac")))
    out = tmp_path / "out"
    done = _parlando(
        cluster, "transcribe", tmp_path / "*.*", "--format", "srt", "--out", out, "--parallel", 2
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == ["one.flac.srt", "one.wav.srt", "two.srt"]
    assert normal(" ".join(cue.content for cue in srt.parse((out / "two.srt").read_text()))) == WORDS

    done = _parlando(cluster, "transcribe", JFK, "--format", "json", "--words")
    assert json.loads(done.stdout)["segments"][0]["words"]

    (tmp_path / "broken.mp3").write_bytes(b"not audio" * 100)
    done = _parlando(cluster, "transcribe", tmp_path / "broken.mp3", JFK)
    assert done.returncode == 1
    assert "can't be decoded" in done.stderr
    assert normal(done.stdout) == WORDS

    done = _parlando(cluster, "transcribe", tmp_path / "nothing*.wav")
    assert done.returncode == 1
    assert "No file is called" in done.stderr


def test_the_command_line_lists_shows_and_deletes_jobs(cluster):
    job = wait(cluster.http(), submit(cluster.http(), JFK)["job_id"])["job_id"]
    listed = _parlando(cluster, "jobs", "list", "--limit", 200).stdout
    assert job in listed
    assert "jfk.flac" in listed
    shown = _parlando(cluster, "jobs", "show", job).stdout
    assert "completed" in shown
    assert WORDS in normal(shown)
    assert _parlando(cluster, "jobs", "cancel", job).stdout == "deleted\n"
    gone = _parlando(cluster, "jobs", "show", job)
    assert gone.returncode == 1
    assert "No job" in gone.stderr


# --- the Python client --------------------------------------------------------------------------------


async def test_the_python_client(cluster, tmp_path):
    told: list[int] = []
    async with JobsClient(cluster.http()) as jobs:
        result = await jobs.transcribe(JFK, words=True, sent=told.append)
        assert normal(result["text"]) == WORDS
        assert result["segments"][0]["words"]
        assert told[-1] == JFK.stat().st_size
        job = (await jobs.submit(JFK, idempotency_key="client"))["job_id"]
        assert (await jobs.submit(JFK, idempotency_key="client"))["job_id"] == job
        assert (await jobs.wait(job))["status"] == "completed"
        assert job in [found["job_id"] for found in await jobs.list(limit=100)]
        (tmp_path / "broken.wav").write_bytes(b"nothing")
        with pytest.raises(ClientError, match="invalid_audio"):
            await jobs.transcribe(tmp_path / "broken.wav")
        with pytest.raises(ClientError, match="can't translate"):
            await jobs.transcribe(JFK, task="translate")
    async with JobsClient(f"http://127.0.0.1:{free_port()}") as nobody:
        with pytest.raises(ClientError, match="unreachable"):
            await nobody.list()


async def test_a_caller_that_is_cancelled_cancels_its_job(perfect):
    async with JobsClient(perfect.http()) as jobs:
        store = perfect.store()
        store.hset("stt:{0}:shares", "chunk:", 1000)  # nothing has room
        transcribing = asyncio.create_task(jobs.transcribe(JFK))
        await asyncio.sleep(1)
        newest = (await jobs.list(limit=1))[0]
        transcribing.cancel()
        await asyncio.wait([transcribing])
        assert (await jobs.job(newest["job_id"]))["status"] == "cancelled"
        store.hdel("stt:{0}:shares", "chunk:")


def test_the_client_without_await(cluster):
    with Parlando(cluster.http()) as parlando:
        assert normal(parlando.transcribe(JFK, language="en")["text"]) == WORDS
        job = parlando.submit(JFK)["job_id"]
        assert [event["type"] for event in parlando.events(job)][-1] == "completed"
        assert parlando.wait(job)["result"]["duration"] == 11.0
        assert "-->" in parlando.result(job, "srt")
        assert parlando.job(job)["status"] == "completed"
        assert parlando.list(limit=1)[0]["job_id"] == job
        assert parlando.cancel(job)["status"] == "deleted"
        with pytest.raises(ClientError, match="job_not_found"):
            parlando.job(job)
