"""docker-compose.yml: every setting reaches its service, Prometheus may read metrics, the GPU is reserved."""

import os
import re
import shutil
import subprocess
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml
from pydantic import AliasChoices

from analyzer.settings import AnalyzerSettings
from api_gateway.settings import GatewaySettings
from audio_processor.settings import ProcessorSettings
from song_recognizer.settings import SongSettings
from transcriber.settings import TranscriberSettings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
SETTINGS = {
    "api-gateway": GatewaySettings,
    "audio-processor": ProcessorSettings,
    "transcriber": TranscriberSettings,
    "transcriber-second": TranscriberSettings,
    "transcriber-gpu": TranscriberSettings,
    "song-recognizer": SongSettings,
    "analyzer": AnalyzerSettings,
}
OF_MAKE_RUN = {"REDIS_DURABLE"}
"""Has no effect on a service: compose has the service `redis-durable`."""
OF_THE_IMAGES = {"HOST", "PORT", "PROCESSOR_PORT", "METRICS_PORT"}
"""Addresses and ports in a container, which the Dockerfiles set; `PORT` in .env is the published port."""
SHORT_FORMS = {"API_KEY"}
"""`API_KEYS` must be set."""
OF_LIBRARIES = {"XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME", "PARLANDO_MODELS"}


def variables(settings) -> set[str]:
    """The environment variables that a settings class reads."""
    found = set()
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        found |= set(map(str, alias.choices)) if isinstance(alias, AliasChoices) else {name}
    return {name.upper() for name in found}


@pytest.mark.parametrize("service", SETTINGS)
def test_every_setting_reaches_its_service(service):
    given = SERVICES[service]["environment"].keys() - OF_LIBRARIES
    assert given <= variables(SETTINGS[service])
    assert variables(SETTINGS[service]) - given - OF_MAKE_RUN - OF_THE_IMAGES - SHORT_FORMS == set()


@pytest.mark.parametrize("service", SETTINGS)
def test_each_service_accepts_the_defaults(service, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # without a .env
    for name, value in SERVICES[service]["environment"].items():
        default = re.sub(r"\$\{\w+:(\?|-)([^}]*)\}", r"\2", str(value))
        monkeypatch.setenv(name, default)
    assert SETTINGS[service]().log_format == "json"


def test_the_network_of_prometheus_may_read_the_gateways_metrics_and_no_other_may():
    network = COMPOSE["networks"]["monitoring"]
    [subnet] = [each["subnet"] for each in network["ipam"]["config"]]
    default = SERVICES["api-gateway"]["environment"]["MONITOR_NETWORKS"]
    allowed = GatewaySettings(monitor_networks=re.fullmatch(r"\$\{MONITOR_NETWORKS:-(.+)\}", default)[1])
    assert ip_network(subnet) in allowed.monitor_networks
    assert [each for each in allowed.monitor_networks if not each.is_loopback] == [ip_network(subnet)]
    assert network["internal"], "published ports don't belong to it"
    inside = {name for name, service in SERVICES.items() if "monitoring" in service.get("networks", ())}
    assert inside == {"prometheus", "api-gateway"}
    [alias] = SERVICES["api-gateway"]["networks"]["monitoring"]["aliases"]
    config = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text())
    [job] = [each for each in config["scrape_configs"] if each["job_name"] == "gateway"]
    assert job["dns_sd_configs"][0]["names"] == [alias], "its address in that network, not in the default one"


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose isn't installed")
def test_the_profile_gpu_reserves_a_gpu_for_a_pool_of_its_own_and_for_nothing_else():
    environment = {**os.environ, "API_KEYS": "k", "COMPOSE_PROFILES": "gpu", "GPU_WHISPER_MODEL": "large-v3"}
    done = subprocess.run(
        ["docker-compose", "config"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    services = yaml.safe_load(done.stdout)["services"]
    service = services["transcriber-gpu"]
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert service["environment"]["DEVICE"] == "cuda"
    assert service["environment"]["WHISPER_MODEL"] == service["build"]["args"]["WHISPER_MODEL"] == "large-v3"
    assert service["environment"]["STT_ENGINE"] == service["build"]["args"]["STT_ENGINE"] == "whisper"
    others = [each for name, each in services.items() if name != "transcriber-gpu"]
    assert all("reservations" not in each["deploy"]["resources"] for each in others)


@pytest.mark.parametrize("service", SETTINGS)
def test_every_image_can_be_built_with_the_packages_for_traces(service):
    build = SERVICES[service]["build"]
    assert build["args"]["TRACING"] == "${TRACING:-}"
    dockerfile = (ROOT / build["dockerfile"]).read_text()
    assert '\nARG TRACING=""\n' in dockerfile
    assert re.search(r'"\./shared.*\$\{TRACING:\+.*tracing.*\}', dockerfile)
