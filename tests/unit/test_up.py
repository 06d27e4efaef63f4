"""What `make run` starts."""

import os
import re
import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest

from parlando.cli import app, services, up
from parlando.cli.services import transcribers
from parlando.cli.up import _pools, _Ports
from parlando.embedded.ports import PortReservations
from parlando.embedded.supervisor import Service, Supervisor
from parlando.errors import NotInstalledError, ParlandoError
from parlando.models.catalogue import MOONSHINE_TINY, SILERO_VAD
from parlando.models.selection import ClusterEngines, selections
from support.gateway_on_loopback import played_gateway
from support.ports import FOLDER, free_port


def started(engines: str, count: int, **settings):
    chosen = selections(ClusterEngines(engines=engines, **settings))
    processes = transcribers({"REDIS_URL": "r"}, count=count, chosen=chosen)
    assert all(process.environment["REDIS_URL"] == "r" for process in processes)
    return [
        (process.name, process.environment["STT_ENGINE"], process.environment["WHISPER_MODEL"])
        for process in processes
    ]


def test_the_cores_are_divided_among_the_engines():
    assert started("moonshine,whisper-base", 5) == [
        ("transcriber.1", "moonshine", ""),
        ("transcriber.2", "moonshine", ""),
        ("transcriber.3", "moonshine", ""),
        ("transcriber.4", "faster-whisper", "whisper-base"),
        ("transcriber.5", "faster-whisper", "whisper-base"),
    ]


def test_each_engine_gets_a_process_even_if_there_are_fewer_cores():
    assert [engine for _, engine, _ in started("moonshine,tiny.en,a.b:c", 1)] == [
        "moonshine",
        "faster-whisper",
        "a.b:c",
    ]


def test_without_engines_all_transcribers_run_the_selected_one():
    assert started("", 1, whisper_model="base") == [("transcriber", "auto", "base")]
    assert started("", 2) == [("transcriber.1", "auto", ""), ("transcriber.2", "auto", "")]


@pytest.mark.parametrize(
    ("engines", "count"),
    [("", 1), ("moonshine", 1), ("moonshine,whisper-base", 2), ("faster-whisper,whisper-base,base", 1)],
)
def test_make_run_waits_for_every_pool(engines, count):
    assert _pools(selections(ClusterEngines(engines=engines))) == count


SERVICES = ["gateway", "audio-processor", "song-recognizer", "transcriber"]


@pytest.fixture
def usual(monkeypatch, tmp_path):
    """The usual ports are ones that the machine's other clusters don't use, and nothing is configured."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "PORT",
        "PROCESSOR_PORT",
        "WYOMING_PORT",
        "METRICS_PORT",
        "SONG_METRICS_PORT",
        "READY_NEEDS",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("GATEWAY_USUAL", "PROCESSOR_USUAL", "WYOMING_USUAL"):
        monkeypatch.setattr(up, name, free_port())
    return tmp_path / "ports"


def test_clusters_that_start_together_get_different_ports(usual):
    """None of these services runs yet: the reservation keeps the second one from the ports of the first."""
    with PortReservations(usual) as ports, PortReservations(usual) as others:
        first = up.addresses(ports, _Ports(), SERVICES)
        second = up.addresses(others, _Ports(), SERVICES)
    assert first["PORT"] == str(up.GATEWAY_USUAL)
    assert first["PROCESSOR_PORT"] == str(up.PROCESSOR_USUAL)
    assert first["WYOMING_PORT"] == str(up.WYOMING_USUAL)
    assert "WYOMING_PORT" not in second
    assert len({first["PORT"], second["PORT"], first["PROCESSOR_PORT"], second["PROCESSOR_PORT"]}) == 4
    with PortReservations(usual) as later:
        assert up.addresses(later, _Ports(), SERVICES) == first


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("192.0.2.7", "192.0.2.7"),
        ("localhost", "localhost"),
    ],
)
def test_the_gateway_is_asked_where_it_listens(host, reached):
    assert _Ports(host=host).reachable == reached


def test_a_folder_of_another_user_is_not_used_for_reservations(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(ParlandoError, match="belongs to another user"), PortReservations(tmp_path):
        pass


def test_a_link_is_not_used_for_reservations(tmp_path):
    (tmp_path / "ports").symlink_to(tmp_path)
    with pytest.raises(ParlandoError, match="belongs to another user"), PortReservations(tmp_path / "ports"):
        pass


def test_a_port_that_a_test_has_chosen_is_kept_from_other_processes():
    port = free_port()
    with PortReservations(FOLDER) as others:
        assert not others.take(port)


def test_readiness_needs_what_is_started_unless_it_is_configured(usual):
    with PortReservations(usual) as ports:
        started = up.addresses(ports, _Ports(), SERVICES)["READY_NEEDS"]
    with PortReservations(usual) as ports:
        configured = up.addresses(ports, _Ports(ready_needs="none"), SERVICES)["READY_NEEDS"]
    assert started == "audio-processor,song-recognizer,transcriber"
    assert configured == "none"


@pytest.mark.parametrize("name", ["PORT", "PROCESSOR_PORT", "WYOMING_PORT"])
def test_a_configured_port_that_is_taken_is_an_error_which_names_the_setting(usual, monkeypatch, name):
    port = free_port()
    monkeypatch.setenv(name, str(port))
    with PortReservations(usual) as ports:
        assert up.addresses(ports, _Ports(), SERVICES).get(name, str(port)) == str(port)
    with (
        socket.create_server(("127.0.0.1", port)),
        PortReservations(usual) as ports,
        pytest.raises(ParlandoError, match=f"{name}={port}, and another process"),
    ):
        up.addresses(ports, _Ports(), SERVICES)


def test_each_transcriber_has_its_own_port_for_metrics(usual):
    services = [Service(name, ["python"], {"A": "1"}) for name in ("transcriber.1", "transcriber.2")]
    first = free_port()
    with PortReservations(usual) as ports:
        numbered = up.with_metrics_ports(services, ports, first)
        assert up.with_metrics_ports(services, ports, 0) == services
    assert len({service.environment["METRICS_PORT"] for service in numbered}) == 2
    assert numbered[0].environment == {"A": "1", "METRICS_PORT": str(first)}


def test_wyoming_is_not_served_if_its_usual_port_is_taken_or_it_is_switched_off(usual):
    with socket.create_server(("127.0.0.1", up.WYOMING_USUAL)), PortReservations(usual) as ports:
        assert "WYOMING_PORT" not in up.addresses(ports, _Ports(), SERVICES)
    (usual.parent / ".env").write_text("WYOMING_PORT=0")
    with PortReservations(usual) as ports:
        assert "WYOMING_PORT" not in up.addresses(ports, _Ports(), SERVICES)


def test_a_configured_port_is_not_chosen_for_another_service(usual):
    settings = _Ports(processor_port=up.GATEWAY_USUAL)
    with PortReservations(usual) as ports:
        found = up.addresses(ports, settings, SERVICES)
    assert found["PROCESSOR_PORT"] == str(up.GATEWAY_USUAL)
    assert int(found["PORT"]) > up.GATEWAY_USUAL


async def test_a_gateway_with_a_certificate_and_keys_becomes_ready(usual, monkeypatch, capsys):
    """Also if MONITOR_NETWORKS doesn't contain this machine: without a key it names no pools."""
    monkeypatch.setattr(up, "READY_WITHIN_S", 0)  # so that a gateway which isn't understood fails at once
    configured = _Ports(tls_cert="certificate.pem", api_keys="one,two", redis_url="redis://127.0.0.1:1/0")
    with played_gateway(usual.parent, key="one") as port:
        environment = {"PORT": str(port), "PROCESSOR_PORT": "1"}
        assert await up._announce(Supervisor(), environment, configured, 1)
    said = capsys.readouterr().out
    assert f"wss://127.0.0.1:{port}/v1/stt/stream" in said
    assert f"https://127.0.0.1:{port}/health" in said
    assert "redis://127.0.0.1:1/0" in said


async def test_the_redis_of_the_file_env_is_used_and_none_is_started(usual, monkeypatch):
    (usual.parent / ".env").write_text("REDIS_URL=redis://127.0.0.1:1/0")
    monkeypatch.delenv("REDIS_URL", raising=False)
    started: list[Service] = []
    monkeypatch.setattr(Supervisor, "start", lambda self, service: started.append(service))

    async def ready(*_: object) -> bool:
        return False

    monkeypatch.setattr(up, "_announce", ready)
    assert await up.run(1) == 1
    assert [service.name for service in started] == SERVICES
    assert all("REDIS_URL" not in service.environment for service in started)


@pytest.mark.parametrize(
    ("absent", "settings", "says"),
    [
        ("transcriber", {}, "Not installed: transcriber. Install the services: pip install 'parlando"),
        ("faster_whisper", {"whisper_model": "base"}, "pip install 'parlando-transcriber[faster-whisper]'"),
        ("analyzer", {"analyzer": True}, "pip install 'parlando[all,analyzer]'"),
    ],
)
def test_it_says_what_to_install(monkeypatch, absent, settings, says):
    monkeypatch.setattr(services, "find_spec", lambda name: None if name == absent else find_spec(name))

    with pytest.raises(NotInstalledError, match=re.escape(says)):
        services.check_packages(ClusterEngines(**settings))


def test_a_hint_keeps_its_brackets(monkeypatch, capsys):
    def fail() -> None:
        raise NotInstalledError("Install it: pip install 'parlando[all]'")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit):
        app.run()
    assert "pip install 'parlando[all]'" in capsys.readouterr().err


def test_the_voice_detector_is_fetched_where_its_package_is_not_installed(monkeypatch):
    assert services.models(ClusterEngines()) == (MOONSHINE_TINY,)
    monkeypatch.setattr(services, "find_spec", lambda name: None)
    assert services.models(ClusterEngines()) == (MOONSHINE_TINY, SILERO_VAD)


def test_without_its_packages_the_command_line_says_how_to_install_them():
    code = "import sys; sys.modules['typer'] = None; from parlando.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 1
    assert "pip install 'parlando[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
