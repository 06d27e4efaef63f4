"""A real Prometheus scrapes a real cluster with the configuration of deploy/monitoring."""

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from parlando.client import Parlando
from support.cluster import Cluster
from support.perfect import PERFECT, speak
from support.ports import free_port
from support.speech import JFK
from support.streaming import stream

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/parlando.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
METRIC = re.compile(r"\bparlando_\w+|\bup\b")
WITHIN_S = 300
KEY = "a-key-with-every-scope"
NETWORKS = "127.0.0.0/8,::1"
"""As in docker-compose.yml, where Prometheus's network is added: it has no key."""

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus isn't installed (apt-get install prometheus)"
)


@pytest.fixture(scope="module")
def cluster():
    access = {"API_KEYS": KEY, "HOST": "127.0.0.1", "MONITOR_NETWORKS": NETWORKS}
    with Cluster(transcribers=0, **access, **PERFECT) as cluster:
        targets = {"gateway": cluster.ports[0]}
        cluster.add_processor()
        targets["audio-processor"] = cluster.processor_port
        for name, setting, add in (
            ("transcriber", "METRICS_PORT", cluster.add_transcriber),
            ("song-recognizer", "SONG_METRICS_PORT", cluster.add_recognizer),
            ("analyzer", "ANALYZER_METRICS_PORT", cluster.add_analyzer),
        ):
            targets[name] = free_port()
            add(**{setting: str(targets[name])})
        cluster.wait_ready(1, 1, 1, 1)
        cluster.targets = targets
        _use(cluster)
        yield cluster


def _use(cluster: Cluster) -> None:
    """A session and a job, so that metrics with labels have values."""
    asyncio.run(stream(cluster.url(), speak(6), speed=None, api_key=KEY))
    with Parlando(cluster.http(), api_key=KEY) as client:
        client.transcribe(JFK)


def test_panels_and_alerts_name_metrics_that_exist(cluster):
    families = {"up"}
    for port in cluster.targets.values():
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        for family in text_string_to_metric_families(text):
            suffix = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            families |= {family.name + end for end in suffix.get(family.type, ("",))}
    named = {
        f"{thing}: {name}"
        for thing, expression in [
            *((panel["title"], panel["targets"][0]["expr"]) for panel in PANELS),
            *((rule["alert"], rule["expr"]) for rule in RULES),
        ]
        for name in METRIC.findall(expression)
    }
    assert len(named) > 40
    assert sorted(each for each in named if each.split(": ")[-1] not in families) == []


@pytest.fixture(scope="module")
def prometheus(cluster):
    """The URL of a Prometheus with the committed configuration; of its scraping only the addresses differ."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{cluster.targets[job['job_name']]}"]}]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(MONITORING / "alerts.yml", folder)
        (Path(folder) / "prometheus.yml").write_text(yaml.safe_dump(config))
        url = f"127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={url}",
                "--log.level=error",
            ]
        )
        try:
            yield f"http://{url}/api/v1"
        finally:
            process.terminate()
            process.wait(60)


def _query(prometheus: str, expression: str) -> list:
    found = httpx.get(f"{prometheus}/query", params={"query": expression})
    found.raise_for_status()  # 503 until it has started
    return found.json()["data"]["result"]


def _results(prometheus: str) -> dict[str, list]:
    """The result of each panel, by its title."""
    return {
        panel["title"]: _query(prometheus, panel["targets"][0]["expr"].replace("$__rate_interval", "1m"))
        for panel in PANELS
    }


def _complete(results: dict[str, list]) -> bool:
    """Whether every panel has a number; a rate over scrapes before the first use has none."""
    return all(result and result[0]["value"][1] != "NaN" for result in results.values())


@needs_prometheus
def test_every_panel_has_a_result_and_no_alert_fires(cluster, prometheus):
    def all_up() -> bool:
        try:
            return len(_query(prometheus, "count_over_time(up[1m]) >= 3 and up == 1")) == len(cluster.targets)
        except httpx.HTTPError:
            return False

    deadline = time.monotonic() + WITHIN_S
    while not all_up():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    _use(cluster)
    while _query(prometheus, "sum(rate(parlando_chunks_total[1m])) > 0") == []:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    results = _results(prometheus)
    while not _complete(results) and time.monotonic() < deadline:
        _use(cluster)
        time.sleep(1)
        results = _results(prometheus)
    for title, result in results.items():
        print(f"{title}: {len(result)} series, first {result[0]['value'][1] if result else None}")
    assert [title for title, result in results.items() if not result] == []
    assert not [title for title, result in results.items() if result[0]["value"][1] == "NaN"]
    kinds = {each["metric"]["kind"]: each["value"][1] for each in results["Live processes by kind"]}
    assert kinds["transcriber"] == kinds["analyzer"] == kinds["gateway"] == "1"
    alerts = httpx.get(f"{prometheus}/rules").json()["data"]["groups"][0]["rules"]
    assert len(alerts) == len(RULES)
    assert {alert["health"] for alert in alerts} == {"ok"}
    assert [alert["name"] for alert in alerts if alert["state"] == "firing"] == []
