"""`/ready` counts every kind of worker that is needed; two clusters run on one machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from support.cluster import TESTS, Cluster

ROOT = Path(__file__).parents[2]
WITHIN_S = 300


def _until(condition):
    deadline = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_ready_names_what_is_missing():
    with Cluster(
        transcribers=1,
        READY_NEEDS="transcriber,audio-processor",
        STT_ENGINE="support.perfect:engine",
        VAD="rms",
    ) as cluster:

        def ready() -> httpx.Response:
            return httpx.get(f"{cluster.http()}/ready")

        def gauge(line: str) -> bool:
            return f"\n{line}\n" in httpx.get(f"{cluster.http()}/metrics").text

        alone = ready()
        assert alone.status_code == 503
        assert alone.json()["missing"] == ["audio-processor"]
        assert alone.json()["needed"] == {"transcriber": 1, "audio-processor": 0}
        assert cluster.health()["status"] == "degraded"
        assert _until(lambda: gauge('parlando_cluster_missing{kind="audio-processor"} 1.0'))

        first = cluster.add_processor()
        port = cluster.processor_port
        _until(lambda: ready().status_code == 200)
        assert _until(lambda: gauge('parlando_cluster_missing{kind="audio-processor"} 0.0'))
        assert gauge('parlando_cluster_workers{kind="transcriber"} 1.0')

        diagnosed = _doctor(cluster)
        assert diagnosed.returncode == 0, diagnosed.stdout
        found = {each["check"]: each["found"] for each in json.loads(diagnosed.stdout)["findings"]}
        assert f"{cluster.http()} is ready: 1 transcriber, 1 audio-processor" in found["cluster"]
        assert "1 transcriber" in found["processes"]

        second = cluster.add_processor(PROCESSOR_PORT=str(port))
        assert second.process.wait(WITHIN_S) == 1
        assert "PROCESSOR_PORT" in second.log.read_text()
        assert "worker.ready" not in second.log.read_text(), "it would look alive for some seconds"

        first.kill()
        _until(lambda: ready().json()["missing"] == ["audio-processor"])
        diagnosed = _doctor(cluster)
        assert diagnosed.returncode == 1
        assert "missing: audio-processor" in diagnosed.stdout


def _doctor(cluster: Cluster) -> subprocess.CompletedProcess[str]:
    """`parlando doctor` with the settings of the cluster."""
    return subprocess.run(
        [Path(sys.executable).parent / "parlando", "doctor", "--json", "--url", cluster.http()],
        env={**os.environ, **cluster.environment, "STT_ENGINE": "moonshine"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )


def test_two_clusters_run_on_one_machine(tmp_path):
    """Nothing is configured: the second one finds the usual ports taken."""
    unset = ("REDIS_URL", "PORT", "PROCESSOR_PORT", "WYOMING_PORT", "READY_NEEDS")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in unset},
        "STREAMING_WORKERS": "1",
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(TESTS),
        "STT_ENGINE": "support.perfect:engine",
        "VAD": "rms",
        "TMPDIR": str(tmp_path),
    }
    command = [Path(sys.executable).parent / "parlando", "up"]
    running = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        said = [_announced(each) for each in running]
        addresses = [re.findall(r"http://127.0.0.1:\d+(?=/health)", text) for text in said]
        assert len({address for pair in addresses for address in pair}) == 4
        for gateway, processor in addresses:
            answer = httpx.get(f"{gateway}/ready")
            assert answer.status_code == 200
            assert answer.json()["needed"] == {"audio-processor": 1, "song-recognizer": 1, "transcriber": 1}
            assert httpx.get(f"{processor}/ready").status_code == 200
        assert not re.search("ended with|starting it again", "".join(said))
    finally:
        for each in running:
            each.send_signal(signal.SIGINT)
        for each in running:
            each.communicate(timeout=WITHIN_S)
    assert [each.returncode for each in running] == [0, 0]


def _announced(process: subprocess.Popen[str]) -> str:
    said = ""
    while "stop with Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said
