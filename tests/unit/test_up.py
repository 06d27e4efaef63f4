"""What `make run` starts."""

import socket

import pytest

from parlando.cli import up
from parlando.cli.up import _pools, _wyoming, transcriber_services
from parlando.models.selection import ClusterEngines, selections
from support.ports import free_port


def started(engines: str, count: int, **settings):
    chosen = selections(ClusterEngines(engines=engines, **settings))
    services = transcriber_services(["python"], {"REDIS_URL": "r"}, count=count, chosen=chosen)
    assert all(service.environment["REDIS_URL"] == "r" for service in services)
    return [
        (service.name, service.environment["STT_ENGINE"], service.environment["WHISPER_MODEL"])
        for service in services
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


def test_wyoming_is_served_on_its_usual_port_unless_that_is_taken_or_another_is_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WYOMING_PORT", raising=False)
    monkeypatch.setattr(up, "WYOMING_USUAL", free_port())
    assert _wyoming() == {"WYOMING_PORT": str(up.WYOMING_USUAL)}
    with socket.create_server(("127.0.0.1", up.WYOMING_USUAL)):
        assert _wyoming() == {}
    for port in ("0", "10301"):
        monkeypatch.setenv("WYOMING_PORT", port)
        assert _wyoming() == {}
    monkeypatch.delenv("WYOMING_PORT")
    (tmp_path / ".env").write_text("WYOMING_PORT=0")
    assert _wyoming() == {}
