"""Resumable uploads: an independent client, any interruption, limits; each byte stored once."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from support import official_clients
from support.cluster import Cluster
from support.faulty_proxy import FaultyProxy
from support.jobs import wait, wav
from support.perfect import PERFECT, script, silence, speak

MB = 1 << 20
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


def auth(key: str = "one") -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(
        gateways=2, processors=1, API_KEYS="one,two", MAX_UPLOAD_MB="64", MAX_UPLOADS_PER_KEY="4", **PERFECT
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """40 MB, with words at both ends and where it is interrupted."""
    parts = [speak(20), silence(400), speak(20, first=20), silence(900), speak(20, first=40)]
    file = tmp_path_factory.mktemp("long") / "talk.wav"
    file.write_bytes(wav(np.concatenate(parts)))
    assert file.stat().st_size > 40 * MB
    return file


def stored(cluster: Cluster) -> int:
    """Bytes of all files of jobs and uploads."""
    return sum(file.stat().st_size for file in cluster.blobs.rglob("*") if file.is_file())


def begin(cluster: Cluster, length: int, *, key: str = "one", gateway: int = 0) -> str:
    """The path of a new upload."""
    headers = {**TUS, **auth(key), "Upload-Length": str(length)}
    answer = httpx.post(f"{cluster.http(gateway)}/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"].startswith("/v1/uploads/u_")
    return answer.headers["Location"]


def send(
    cluster: Cluster, path: str, at: int, data: bytes, *, gateway: int = 0, **more: str
) -> httpx.Response:
    headers = {**BYTES, **auth(), "Upload-Offset": str(at), **more}
    return httpx.patch(cluster.http(gateway) + path, headers=headers, content=data, timeout=600)


def offset(cluster: Cluster, path: str, *, gateway: int = 0) -> int:
    answer = httpx.head(cluster.http(gateway) + path, headers={**TUS, **auth()})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def remove(cluster: Cluster, path: str) -> None:
    assert httpx.delete(cluster.http() + path, headers={**TUS, **auth()}).status_code == 204


def submit(
    cluster: Cluster, path: str, *, headers: dict[str, str] | None = None, **options: object
) -> httpx.Response:
    body = {"upload": path.rpartition("/")[2], **options}
    return httpx.post(f"{cluster.http()}/v1/stt/jobs", json=body, headers={**auth(), **(headers or {})})


def check_words(cluster: Cluster, job: str) -> None:
    done = wait(cluster.http(), job, key="one")
    assert done["status"] == "completed", done
    assert done["result"]["text"].split() == script(0, 60)


@official_clients.needs_clients
def test_tuspy_continues_an_upload_at_another_gateway(cluster, recording):
    [first] = official_clients.run("tus_upload", cluster.http(0), "one", recording, 8 * MB, 2)
    assert first["offset"] == 16 * MB
    assert stored(cluster) == 16 * MB
    address = first["address"].replace(cluster.http(0), cluster.http(1))
    [second] = official_clients.run("tus_upload", cluster.http(1), "one", recording, 8 * MB, 9, address)
    assert second["offset"] == stored(cluster) == recording.stat().st_size, "each byte is stored once"
    answer = submit(cluster, first["address"])
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["filename"], job["size"]) == ("talk.wav", recording.stat().st_size)
    check_words(cluster, job["job_id"])
    assert stored(cluster) == 0, "the job has deleted the file"
    assert submit(cluster, first["address"]).json()["job_id"] == job["job_id"], "a repeat changes nothing"
    assert httpx.delete(f"{cluster.http()}/v1/stt/jobs/{job['job_id']}", headers=auth()).status_code == 200
    assert submit(cluster, first["address"]).status_code == 404, "the file is gone"


def test_what_arrived_before_a_lost_connection_is_stored(cluster):
    path = begin(cluster, 3 * MB)
    with socket.create_connection(("127.0.0.1", cluster.ports[0])) as connection:
        head = [f"PATCH {path} HTTP/1.1", "Host: localhost", f"Content-Length: {3 * MB}", "Upload-Offset: 0"]
        head += [f"{name}: {value}" for name, value in {**BYTES, **auth()}.items()]
        connection.sendall("\r\n".join([*head, "", ""]).encode() + b"a" * 1_500_000)
    deadline = time.monotonic() + 600
    while offset(cluster, path, gateway=1) < 1_500_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = send(cluster, path, 1_500_000, b"b" * (3 * MB - 1_500_000), gateway=1)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(3 * MB))
    assert "Upload-Expires" in answer.headers
    [file] = cluster.blobs.rglob("u_*")
    assert file.read_bytes() == b"a" * 1_500_000 + b"b" * (3 * MB - 1_500_000)
    remove(cluster, path)
    assert stored(cluster) == 0


def test_a_request_of_which_nothing_is_heard_is_taken_over(cluster):
    path = begin(cluster, 2000)
    with socket.create_connection(("127.0.0.1", cluster.ports[0])) as stalled:
        head = [f"PATCH {path} HTTP/1.1", "Host: localhost", "Content-Length: 2000", "Upload-Offset: 0"]
        head += [f"{name}: {value}" for name, value in {**BYTES, **auth()}.items()]
        stalled.sendall("\r\n".join([*head, "", ""]).encode() + b"a" * 500)
        deadline = time.monotonic() + 600
        while not cluster.store().hget(f"stt:{{uploads}}:of:{path.rpartition('/')[2]}", "writer"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert send(cluster, path, 0, b"b" * 1000, gateway=1).status_code == 204
        stalled.sendall(b"a" * 1500)
        assert b" 409 " in stalled.recv(1000)
    [file] = cluster.blobs.rglob("u_*")
    assert file.read_bytes() == b"b" * 1000
    remove(cluster, path)


def test_what_the_protocol_refuses(cluster):
    create = f"{cluster.http()}/v1/uploads"
    said = httpx.options(create)
    assert said.status_code == 204
    assert said.headers["Tus-Max-Size"] == str(64 * MB)
    assert said.headers["Tus-Extension"] == "creation,expiration,termination"

    def status(method: str, url: str, **headers: str) -> int:
        answer = httpx.request(method, url, headers={**TUS, **auth(), **headers}, content=b"")
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        return answer.status_code

    assert httpx.post(create, headers=TUS).status_code == 401
    assert status("POST", create, **{"Upload-Length": "9", "Tus-Resumable": "0.2.2"}) == 412
    assert status("POST", create) == 422
    assert status("POST", create, **{"Upload-Length": str(65 * MB)}) == 413
    assert status("POST", create, **{"Upload-Length": "9", "Upload-Metadata": "filename !"}) == 400
    path = begin(cluster, 10)
    assert send(cluster, path, 0, b"12345", **{"Content-Type": "audio/wav"}).status_code == 415
    assert send(cluster, path, 5, b"12345").status_code == 409
    assert send(cluster, path, 0, b"12345678901").status_code == 413
    assert send(cluster, path, 0, b"12345").status_code == 204
    assert send(cluster, path, 5, b"12345", **auth("two")).status_code == 404, "it belongs to another key"
    assert submit(cluster, path).status_code == 409, "it is incomplete"
    assert send(cluster, path, 5, b"12345").status_code == 204
    assert submit(cluster, path, language="xx-not-a-language").status_code == 400
    assert submit(cluster, path, url="http://127.0.0.1/").status_code == 400
    assert submit(cluster, path, headers=auth("two")).status_code == 404
    job = submit(cluster, path, headers={"Idempotency-Key": "a"}).json()["job_id"]
    assert submit(cluster, path, headers={"Idempotency-Key": "b"}).status_code == 409, "another job has it"
    assert send(cluster, path, 10, b"").status_code in (404, 409)
    assert wait(cluster.http(), job, key="one")["error"]["code"] == "invalid_audio"
    remove(cluster, path)
    assert httpx.head(cluster.http() + path, headers={**TUS, **auth()}).status_code == 404


def test_the_number_of_unfinished_uploads_of_a_key_is_limited(cluster):
    paths = [begin(cluster, 10) for _ in range(4)]
    headers = {**TUS, **auth(), "Upload-Length": "10"}
    answer = httpx.post(f"{cluster.http(1)}/v1/uploads", headers=headers)
    assert answer.status_code == 503
    assert "MAX_UPLOADS_PER_KEY" in answer.json()["detail"]
    other = httpx.post(f"{cluster.http(1)}/v1/uploads", headers={**headers, **auth("two")})
    assert other.status_code == 201, "other keys have their own"
    for path in paths:
        remove(cluster, path)
    remove(cluster, begin(cluster, 10))


def command(proxy: FaultyProxy, recording: Path, cache: Path) -> subprocess.Popen:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen(
        [
            Path(sys.executable).with_name("parlando"),
            "transcribe",
            recording,
            "--url",
            proxy.url,
            "--key",
            "one",
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )


def wait_held(proxy: FaultyProxy, running: subprocess.Popen) -> None:
    """Wait until the proxy holds the bytes of an upload back."""
    deadline = time.monotonic() + 600
    while not proxy.held.wait(0.1):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline


def test_the_command_line_continues_after_cut_connections_and_a_killed_gateway(cluster, recording, tmp_path):
    with FaultyProxy(cluster.ports[0]) as proxy:
        proxy.cut_after, proxy.hold_after = 9 * MB, 20 * MB
        proxy.open.clear()
        running = command(proxy, recording, tmp_path)
        wait_held(proxy, running)
        assert proxy.cuts >= 2
        cluster.gateways[0].kill()
        proxy.open.set()
        cluster.restart_gateway(0)
        out, errors = running.communicate(timeout=600)
        assert running.returncode == 0, errors
        assert out.split() == script(0, 60)
        assert proxy.forwarded < 1.5 * recording.stat().st_size, "it went on where it was"
    assert stored(cluster) == 0
    assert list((tmp_path / "parlando" / "uploads").iterdir()) == []


def test_the_command_line_continues_what_ctrl_c_interrupted(cluster, recording, tmp_path):
    with FaultyProxy(cluster.ports[1]) as proxy:
        proxy.hold_after = 20 * MB
        proxy.open.clear()
        running = command(proxy, recording, tmp_path)
        wait_held(proxy, running)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=600)
        assert running.returncode != 0
        assert "the same command continues it" in errors
        [entry] = (tmp_path / "parlando" / "uploads").iterdir()
        assert json.loads(entry.read_text())["file"] == str(recording)
        proxy.open.set()
        out, errors = (again := command(proxy, recording, tmp_path)).communicate(timeout=600)
        assert again.returncode == 0, errors
        assert out.split() == script(0, 60)
        assert proxy.forwarded < 1.5 * recording.stat().st_size
    assert stored(cluster) == 0


@official_clients.needs_node
def test_the_javascript_client_continues_after_cut_connections(cluster, recording):
    with FaultyProxy(cluster.ports[1]) as proxy:
        proxy.cut_after = 13 * MB  # between two of its requests, and within one
        script_file = Path(__file__).with_name("upload_client.mjs")
        done = subprocess.run(
            ["node", script_file, proxy.url, "one", recording], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["text"].split() == script(0, 60)
        assert said["shares"] == sorted(said["shares"])
        assert said["shares"][-1] == 1
        assert proxy.cuts >= 2
        assert proxy.forwarded < 1.7 * recording.stat().st_size
    assert stored(cluster) == 0


def memory(process: psutil.Process) -> int:
    """Resident bytes of a process and its children."""
    found = process.memory_info().rss
    for child in process.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += child.memory_info().rss
    return found


def test_hours_need_no_more_memory_than_minutes(cluster, tmp_path):
    """Three hours are 345 MB of samples, of which no process keeps more than a few seconds."""
    file = tmp_path / "hours.flac"
    with soundfile.SoundFile(file, "w", 16_000, 1, format="FLAC", subtype="PCM_16") as out:
        for third in range(3):
            out.write(speak(20, first=20 * third))
            for _ in range(60):
                out.write(silence(60))
    with httpx.Client(headers=auth(), timeout=600) as client:
        path = begin(cluster, file.stat().st_size)
        assert send(cluster, path, 0, file.read_bytes()).status_code == 204
        processes = [psutil.Process(each[0].process.pid) for each in (cluster.gateways, cluster.processors)]
        before = [memory(process) for process in processes]
        most = before
        job = client.post(f"{cluster.http()}/v1/stt/jobs", json={"upload": path[-32:]}).json()["job_id"]
        shares = [0.0]
        while shares[-1] < 1:
            most = [max(pair) for pair in zip(most, map(memory, processes), strict=True)]
            found = client.get(f"{cluster.http()}/v1/stt/jobs/{job}").json()
            assert found["status"] != "failed", found
            shares.append(found["progress"])
            time.sleep(0.1)
    check_words(cluster, job)
    assert shares == sorted(shares)
    assert len(set(shares)) > 4
    grown = [end - start for end, start in zip(most, before, strict=True)]
    assert max(grown) < 150 * MB, grown
    assert stored(cluster) == 0
