"""`parlando doctor`: each check finds what is wrong, and says what to do."""

import hashlib
import json
import socket
import threading
from pathlib import Path

import httpx
import pytest

from parlando.cli import services
from parlando.cli.doctor import machine, models, redis, software
from parlando.cli.doctor.configured import Configured
from parlando.cli.doctor.finding import Level, problem
from parlando.cli.doctor.run import cluster, run, show
from parlando.models.catalogue import Model, ModelFile
from parlando.models.store import ModelStore
from support.gateway_on_loopback import played_gateway
from support.ports import free_port

GOOD = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "used_memory": 1 << 20, "maxmemory": 0}
GB = 1 << 30


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "PORT", "PROCESSOR_PORT", "API_KEYS", "HOST", "ENGINES", "STT_ENGINE"):
        monkeypatch.delenv(name, raising=False)


def levels(findings) -> list[tuple[str, str]]:
    found = list(findings)
    for finding in found:
        assert bool(finding.do) == (finding.level is not Level.OK), "what isn't well says what to do"
    return [(finding.level.value, finding.found) for finding in found if finding.level is not Level.OK]


def test_a_redis_with_good_settings_has_no_findings():
    assert levels(redis.settings(GOOD, durable=False)) == []
    assert levels(redis.settings({**GOOD, "aof_enabled": 1}, durable=True)) == []


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"redis_version": "6.0.16"}, "problem", "Redis 6.0.16"),
        ({"maxmemory_policy": "allkeys-lru"}, "problem", "maxmemory-policy is allkeys-lru"),
        ({"used_memory": 900 << 20, "maxmemory": 1 << 30}, "warning", "900 MB used of 1024 MB"),
        ({"rdb_last_bgsave_status": "err"}, "problem", "rdb_last_bgsave_status is err"),
    ],
)
def test_bad_settings_of_redis_are_found(change, level, words):
    [(found, said)] = levels(redis.settings({**GOOD, **change}, durable=False))
    assert found == level
    assert words in said


def test_a_redis_in_memory_is_a_warning_only_if_it_shall_be_durable():
    assert levels(redis.settings(GOOD, durable=True)) == [("warning", "appendonly no, but REDIS_DURABLE=1")]


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.2, "ok"), (-1.4, "ok"), (1.6, "warning"), (-90, "warning")]
)
def test_clocks_may_differ_by_a_second_more_than_can_be_measured(seconds, level):
    assert redis.skew(seconds, 0.5).level == level


async def test_a_real_redis_is_examined(redis_server):
    good = await redis.check(Configured(redis_url=redis_server.url))
    assert levels(good) == []
    assert {finding.check for finding in good} == {"redis", "clock", "processes"}
    client = redis.connect(redis_server.url)
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.set("stt:schema", 2)
    await client.aclose()
    said = str(levels(await redis.check(Configured(redis_url=redis_server.url))))
    assert "allkeys-lru" in said
    assert "schema 2" in said


async def test_a_redis_that_does_not_answer_is_a_problem():
    [(level, said)] = levels(await redis.check(Configured(redis_url=f"redis://127.0.0.1:{free_port()}/0")))
    assert level == "problem"
    assert "doesn't answer" in said


def test_models_are_checked_by_their_hashes(tmp_path):
    content = b"weights"
    sha256 = "9fdf6fd2e9d3f9a5b9b4f6a2b6e1e0f0"  # not that of the content
    model = Model("m", "moonshine", "English", "MIT", (ModelFile("f", len(content), sha256, ()),))
    store = ModelStore(tmp_path)
    assert "isn't complete" in models.model_of(model, store).found
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "f").write_bytes(content)
    assert "is damaged" in models.model_of(model, store).found
    good = Model("m", "moonshine", "E", "MIT", (ModelFile("f", 7, hashlib.sha256(content).hexdigest(), ()),))
    assert models.model_of(good, store).level is Level.OK


def test_a_port_that_another_program_has_is_a_problem_only_if_it_is_configured():
    port = free_port()
    assert machine.port("gateway", None, port, "PORT").level is Level.OK
    with socket.create_server(("127.0.0.1", port)) as server, _Closing(server):
        assert machine.port("gateway", None, port, "PORT").level is Level.WARNING
        assert machine.port("gateway", port, 1, "PORT").level is Level.PROBLEM


class _Closing:
    """Answers each connection of a server by closing it."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        self._server.settimeout(0.05)
        while not self._ended.is_set():
            try:
                self._server.accept()[0].close()
            except TimeoutError:
                continue

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


@pytest.mark.parametrize(
    ("free", "level"),
    [(GB // 2, "problem"), (2 * GB, "warning"), (50 * GB, "ok")],
    ids=["full", "low", "good"],
)
def test_folders_need_room(tmp_path, free, level):
    assert machine.folder_of("blobs", tmp_path / "not" / "yet", free=free).level == level


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    finding = machine.folder_of("blobs", tmp_path / "file" / "blobs", free=50 * GB)
    assert finding.level is Level.PROBLEM


def test_keys_are_compared_with_the_address():
    none = Path("none")
    assert levels(machine.keys(Configured(), none)) == []
    assert levels(machine.keys(Configured(host="127.0.0.1"), none)) == []
    assert "doesn't start" in str(levels(machine.keys(Configured(host="0.0.0.0"), none)))
    assert "1 of 2 are shorter" in str(levels(machine.keys(Configured(api_keys=f"{'k' * 48},short"), none)))
    assert levels(machine.keys(Configured(api_keys="k" * 48), none)) == []


def test_keys_in_a_file_that_everybody_can_read_are_a_warning(tmp_path):
    env = tmp_path / ".env"
    env.write_text("API_KEYS=" + "k" * 48)
    for mode, count in ((0o644, 1), (0o600, 0)):
        env.chmod(mode)
        assert len(levels(machine.keys(Configured(), env))) == count


@pytest.mark.parametrize(
    ("output", "level"),
    [
        ("ffmpeg version 4.1.9-0+deb10u1 Copyright", "problem"),
        ("ffmpeg version 5.1.6-0+deb12u1 Copyright", "ok"),
        ("ffmpeg version n7.1 Copyright", "ok"),
        ("ffmpeg version N-113007-g8d24a28d06 Copyright", "ok"),
        ("not found", "problem"),
    ],
)
def test_ffmpeg_must_be_4_2_or_newer(output, level):
    assert software.ffmpeg([("/usr/bin/ffmpeg", output)]).level == level
    assert software.ffmpeg([]).level is Level.PROBLEM


def test_python_must_be_3_11_or_newer():
    assert software.python((3, 10)).level is Level.PROBLEM
    assert software.python((3, 11)).level is Level.OK


@pytest.mark.parametrize(
    ("answer", "key", "words"),
    [
        ({"ready": False}, None, "isn't ready"),
        ({"ready": True}, None, "is ready"),
        ({"ready": False, "services": {"redis": "unreachable"}}, "k", "Redis (unreachable)"),
        ({"ready": False, "needed": {}, "missing": ["transcriber"]}, "k", "missing: transcriber"),
    ],
)
def test_a_gateway_that_tells_strangers_little_is_examined_too(monkeypatch, answer, key, words):
    def get(url, *, headers, timeout):
        assert headers == ({"Authorization": "Bearer k"} if key else {})
        return httpx.Response(200, json=answer)

    monkeypatch.setattr(httpx, "get", get)
    finding = cluster("http://gateway", key)
    assert words in finding.found
    assert ("--key" in finding.do) == (answer == {"ready": False})


def test_the_gateway_itself_has_its_port_also_with_a_certificate_and_keys(tmp_path):
    headers = {"Authorization": "Bearer one"}
    with played_gateway(tmp_path, key="one") as port:
        found = machine.port("gateway", port, 1, "PORT", scheme="https", headers=headers)
        assert (found.level, found.found) == (Level.OK, f"{port}: Parlando 1.2 (healthy)")
        assert machine.port("gateway", port, 1, "PORT").level is Level.PROBLEM


def test_an_unknown_engine_is_a_finding(tmp_path):
    configured = Configured(engines="no-such-engine")
    assert levels(software.check(configured)) == levels(software.check(Configured()))
    [(level, said)] = levels(models.check(configured, ModelStore(tmp_path)))
    assert (level, "no-such-engine" in said) == ("problem", True)


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(services, "find_spec", lambda name: None)
    [finding] = software.extras(Configured(whisper_model="base"))
    assert "pip install 'parlando-transcriber[faster-whisper]'" in finding.do


def test_brackets_are_printed(capsys):
    show([problem("packages", "[a]", "pip install 'parlando[all]'")], as_json=False)
    out = capsys.readouterr().out
    assert "[a]" in out
    assert "pip install 'parlando[all]'" in out


def test_a_cluster_that_does_not_answer_is_a_problem():
    assert "no gateway answers" in cluster(f"http://127.0.0.1:{free_port()}").found


def test_the_outcome_is_an_exit_code_and_json(capsys, monkeypatch):
    monkeypatch.setattr(machine, "folders", lambda configured: [])  # the machine's disk may be full
    assert run(None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["status"] in ("ok", "warning")
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    assert run(None, as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["status"] == "problem"
    [bad] = [finding for finding in report["findings"] if finding["level"] == "problem"]
    assert bad["check"] == "redis"
    assert bad["do"].startswith("start it")
