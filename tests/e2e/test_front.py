"""What a user types: the seed's clients, the command line, `make run`'s supervisor, compose, keys."""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets
import yaml

from support.cluster import Cluster
from support.ports import free_port
from support.speech import JFK, fixture
from support.streaming import check_promises, stream

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1) as cluster:
        yield cluster


@pytest.fixture
def wav(tmp_path) -> Path:
    path = tmp_path / "audio.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(fixture("jfk.flac")[: 4 * 16_000].tobytes())
    return path


async def test_the_python_client_of_the_seed_gets_partials_and_a_final(cluster, wav):
    """Its loop as its README shows it: base64 chunks, no start, no end, waits for the final."""
    kinds = []
    for _ in range(2):  # and again, with the same session id
        async with asyncio.timeout(600), websockets.connect(f"{cluster.url()}/v1/stt/stream") as ws:
            audio_data = np.frombuffer(wav.read_bytes()[44:], dtype=np.int16)
            for i in range(0, len(audio_data), 640):
                chunk_b64 = base64.b64encode(audio_data[i : i + 640].tobytes()).decode()
                await ws.send(
                    json.dumps({"type": "audio", "session_id": "interview_123", "chunk": chunk_b64})
                )
                await asyncio.sleep(0.02)
            while True:
                result = json.loads(await ws.recv())
                kinds.append(result["type"])
                if result["type"] == "final":
                    break
        assert "fellow" in result["text"].lower()
        assert result["session_id"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result["timestamp"])
    assert "partial" in kinds


@pytest.mark.skipif(shutil.which("npm") is None, reason="Node and npm aren't installed")
def test_the_javascript_client_of_the_seed_gets_partials_and_a_final(cluster, tmp_path):
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", tmp_path, "ws@8"]
    subprocess.run(install, check=True, timeout=120)  # browsers and Node 22 have a WebSocket of their own
    module = tmp_path / "node_modules" / "ws" / "wrapper.mjs"
    raw = tmp_path / "audio.raw"
    raw.write_bytes(np.r_[fixture("jfk.flac")[: 3 * 16_000], np.zeros(16_000, np.int16)].tobytes())

    done = subprocess.run(
        [shutil.which("node"), ROOT / "tests/e2e/seed_client.mjs", cluster.url(), raw, module],
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert "Partial: " in done.stdout, done.stderr
    assert re.search(r"Final: .*fellow", done.stdout)


def _parlando(*words, **environment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "parlando", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )


def test_the_command_line_transcribes_a_file(cluster):
    done = _parlando("live", JFK, "--fast", "--url", cluster.http())

    assert done.returncode == 0, done.stderr
    assert "country" in done.stdout


async def test_the_command_line_follows_a_session(cluster):
    """From its beginning, while somebody else speaks."""
    speaking = asyncio.create_task(stream(cluster.url(), fixture("jfk.flac"), session_id="tailed", speed=2))
    await asyncio.sleep(2)
    done = await asyncio.to_thread(_parlando, "tail", "tailed", "--url", cluster.http())
    heard = await speaking
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == heard.words
    gone = await asyncio.to_thread(_parlando, "tail", "nobody", "--url", cluster.http())
    assert gone.returncode == 1
    assert "No session" in gone.stderr


def test_listening_says_what_it_needs(cluster):
    """Here is no microphone, and perhaps no sounddevice or PortAudio either."""
    done = _parlando("listen", "--url", cluster.http())
    assert done.returncode == 1
    assert "install" in done.stderr or "no microphone" in done.stderr


def test_the_command_line_says_what_is_wrong(cluster, tmp_path):
    (tmp_path / "not.wav").write_bytes(b"nothing")

    unreadable = _parlando("live", tmp_path / "not.wav", "--url", cluster.http())
    nobody = _parlando("status", "--url", "http://127.0.0.1:9")

    assert unreadable.returncode == 1
    assert "No audio-processor is running" in unreadable.stderr
    assert nobody.returncode == 1
    assert "parlando up" in nobody.stderr


def test_the_command_line_knows_the_cluster_and_the_models(cluster):
    assert "healthy" in _parlando("status", "--url", cluster.http()).stdout
    assert "moonshine-tiny" in _parlando("models", "list").stdout
    assert Path(_parlando("models", "path", "moonshine-tiny").stdout.strip()).is_dir()


def test_health_says_what_runs_and_why(cluster):
    health = cluster.health()

    assert health["status"] == "healthy"
    assert health["services"] == {"redis": "connected", "whisper": "loaded"}
    assert health["engines"] == [
        {"engine": "moonshine", "model": "tiny", "why": "the embedded default; set WHISPER_MODEL for Whisper"}
    ]
    assert health["vad"] == ["silero (silero-vad is installed)"]
    assert httpx.get(f"{cluster.http()}/ready").status_code == 200
    assert "parlando_gateway_connections" in httpx.get(f"{cluster.http()}/metrics").text
    assert "WS /v1/stt/stream" in httpx.get(f"{cluster.http()}/openapi.json").json()["info"]["description"]
    assert httpx.get(f"{cluster.http()}/docs").status_code == 200


def test_errors_are_problem_details(cluster):
    missing = httpx.get(f"{cluster.http()}/v1/stt/sessions/none")
    wrong = httpx.get(f"{cluster.http()}/v1/stt/sessions/none/transcript?format=doc")

    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.json()["code"] == "session_not_found"
    assert wrong.status_code in (404, 422)


@pytest.mark.parametrize("query", ["sample_rate=4000", "sample_rate=8000&channels=9", "encoding=opus"])
async def test_formats_that_cannot_be_are_refused_with_1003(cluster, query):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?{query}") as socket:
        error = json.loads(await socket.recv())
        await socket.wait_closed()

    assert error["code"] == "invalid_request"
    assert "xpected" in error["message"] or "should be" in error["message"]
    assert socket.close_code == 1003


async def test_without_an_audio_processor_formats_that_need_one_are_refused_with_1013(cluster):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?sample_rate=8000") as socket:
        error = json.loads(await socket.recv())
        await socket.wait_closed()

    assert error["code"] == "at_capacity"
    assert "No audio-processor is running" in error["message"]
    assert socket.close_code == 1013


async def test_a_language_that_the_engine_does_not_know_is_refused(cluster):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?language=de&session_id=deutsch") as socket:
        error = json.loads(await socket.recv())

    assert error["code"] == "invalid_request"
    assert "of this cluster supports, but got de; it has moonshine-tiny (en; " in error["message"]


async def test_keys_guard_every_door():
    with Cluster(
        transcribers=1, API_KEYS="one,two", STT_ENGINE="support.perfect:engine", VAD="rms"
    ) as guarded:
        heard = await stream(guarded.url(), np.zeros(1600, np.int16), api_key="two")
        check_promises(heard)
        path = f"{guarded.http()}/v1/stt/sessions/{heard.session.id}"
        assert httpx.get(path, headers={"Authorization": "Bearer two"}).status_code == 200
        assert httpx.get(path, headers={"Authorization": "Bearer one"}).status_code == 404
        assert httpx.get(path).status_code == 401
        async with websockets.connect(f"{guarded.url()}/v1/stt/stream") as socket:
            assert json.loads(await socket.recv())["code"] == "not_allowed"
            await socket.wait_closed()
        assert socket.close_code == 1008
        protocols = ["parlando", "parlando-key.one"]
        async with websockets.connect(f"{guarded.url()}/v1/stt/stream", subprotocols=protocols) as socket:
            assert socket.subprotocol == "parlando"
            assert json.loads(await socket.recv())["type"] == "connected"


async def test_an_idle_socket_is_closed_with_4408():
    with Cluster(
        transcribers=1, IDLE_TIMEOUT_S="1", STT_ENGINE="support.perfect:engine", VAD="rms"
    ) as impatient:
        async with websockets.connect(f"{impatient.url()}/v1/stt/stream") as socket:
            said = []
            with pytest.raises(websockets.ConnectionClosedError):
                while True:
                    said.append(json.loads(await socket.recv()))

    assert socket.close_code == 4408
    assert said[-1]["code"] == "idle"


def test_the_supervisor_starts_everything_restarts_what_dies_and_stops_all():
    port, processor = free_port(), free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if k != "REDIS_URL"},
        "PORT": str(port),
        "PROCESSOR_PORT": str(processor),
        "STREAMING_WORKERS": "1",
        "LOG_FORMAT": "json",
    }
    running = subprocess.Popen(
        [BIN / "parlando", "up"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        said = ""
        while "stop with Ctrl-C" not in said:
            said += running.stdout.readline()
        first = re.search(r'"worker": "(transcriber-\w+)"', said)[1]
        assert f"http://127.0.0.1:{port}/docs" in said
        assert httpx.get(f"http://127.0.0.1:{processor}/ready").json()["services"]["redis"] == "connected"
        assert "parlando_" in httpx.get(f"http://127.0.0.1:{processor}/metrics").text

        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        [worker] = [p for p in children if b"transcriber" in Path(f"/proc/{p}/cmdline").read_bytes()]
        os.kill(int(worker), signal.SIGKILL)
        while not re.search(r'"worker": "(transcriber-\w+)"', said.partition("ended with -9")[2]):
            said += running.stdout.readline()
        assert first not in said.partition("ended with -9")[2]
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=600)
    assert running.returncode == 0
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "no child outlives the supervisor"
        time.sleep(0.1)


WORKERS = (
    "analyzer",
    "audio-processor",
    "song-recognizer",
    "transcriber",
    "transcriber-second",
    "transcriber-gpu",
)

MONITORING = ("prometheus", "grafana")


def test_compose_scales_and_is_hardened():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]

    assert set(services) == {"redis", "redis-durable", "api-gateway", *WORKERS, *MONITORING}
    assert "healthcheck" in services["redis"]
    assert services["redis-durable"]["profiles"] == ["durable"]
    assert services["transcriber-second"]["profiles"] == ["second-engine"]
    assert services["analyzer"]["profiles"] == ["analyzer"]
    assert services["transcriber-second"]["environment"]["WHISPER_MODEL"] == "${SECOND_WHISPER_MODEL:-base}"
    optional = [name for name, service in services.items() if "profiles" in service]
    assert optional == ["redis-durable", "analyzer", "transcriber-second", "transcriber-gpu", *MONITORING]
    for name in MONITORING:
        assert services[name]["profiles"] == ["monitoring"]
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"]), "they check no key"
    for name in ("api-gateway", *WORKERS):
        assert services[name]["environment"]["REDIS_URL"] == "redis://${REDIS_HOST:-redis}:6379/0"
    for name in WORKERS:
        assert "ports" not in services[name], "a published port would forbid --scale"
    assert services["audio-processor"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert service["read_only"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["stop_grace_period"], name
    for name in ("api-gateway", *WORKERS):
        dockerfile = (ROOT / services[name]["build"]["dockerfile"]).read_text()
        assert "\nUSER 10001\n" in dockerfile
        assert "HEALTHCHECK" in dockerfile


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose isn't installed")
@pytest.mark.parametrize("profiles", ["", "durable,second-engine,gpu,analyzer,monitoring"])
def test_compose_config_is_accepted(profiles):
    done = subprocess.run(
        ["docker-compose", "config", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "API_KEYS": "k", "COMPOSE_PROFILES": profiles},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
