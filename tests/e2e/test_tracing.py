"""Traces of live sessions: one for each session, with the spans of all processes, sent by OTLP."""

import asyncio
import socket
import subprocess
import sys
import time

import httpx
import structlog
import structlog.testing

from parlando import tracing
from parlando.client import connect
from support.cluster import Cluster
from support.encoding import encoded
from support.otlp import collector
from support.perfect import silence, speak
from support.speech import JFK

PROCESSES = {"parlando-gateway", "parlando-audio-processor", "parlando-transcriber"}


def attributes(span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


async def test_one_trace_leads_from_the_frame_to_the_final():
    with (
        collector() as received,
        Cluster(
            processors=1,
            STT_ENGINE="support.perfect:engine",
            VAD="rms",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.address,
            OTEL_TRACES_SAMPLER_ARG="1",
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as cluster,
    ):
        async with connect(cluster.url(), encoding="container") as session:
            await session.send(encoded(JFK, "wav"))
            await session.end()
            finals = [event async for event in session if event["type"] == "final"]
        async with connect(cluster.url()) as other:
            await other.send(b"".join(part.tobytes() for part in (speak(2), silence(1))))
            await other.end()
            assert [event async for event in other]
        deadline = time.monotonic() + 100
        while (
            {service for service, _ in received.of(session.id)} < PROCESSES
            or not {"session", "convert"} <= {span.name for _, span in received.of(session.id)}
            or not received.of(other.id)
        ) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        spans = received.of(session.id)
        metrics = httpx.get(f"{cluster.http()}/metrics", timeout=600).text

    named: dict[str, list] = {}
    for service, span in spans:
        named.setdefault(span.name, []).append((service, span))
    [(service, root)] = named.pop("session")
    assert service == "parlando-gateway"
    assert root.parent_span_id == b""
    assert all(span.parent_span_id == root.span_id for each in named.values() for _, span in each)
    assert {name: {service for service, _ in each} for name, each in named.items()} == {
        "store": {"parlando-gateway"},
        "convert": {"parlando-audio-processor"},
        "decode": {"parlando-transcriber"},
        "final": {"parlando-transcriber"},
        "deliver": {"parlando-gateway"},
    }
    assert len(named["final"]) == len(named["deliver"]) == len(finals)
    assert {attributes(span)["segment"] for _, span in named["final"]} == {
        final["segment"] for final in finals
    }
    assert "final" in {attributes(span)["lane"] for _, span in named["decode"]}
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for _, span in spans)
    text = " ".join(str(span) for _, span in spans)
    assert not any(final["text"] in text for final in finals if final["text"])
    assert received.of(other.id)
    assert "parlando_gateway" in metrics


def test_processes_choose_the_same_sessions():
    sessions = [f"s_{number}" for number in range(4000)]
    chosen = {sid for sid in sessions if tracing.is_chosen(sid, 0.05)}

    assert 100 < len(chosen) < 300
    assert chosen < {sid for sid in sessions if tracing.is_chosen(sid, 0.5)}
    assert all(tracing.is_chosen(sid, 1) for sid in sessions)
    assert not any(tracing.is_chosen(sid, 0) for sid in sessions)


def test_without_an_endpoint_nothing_is_loaded():
    code = (
        "import sys; from parlando import tracing; tracing.configure('x', endpoint=None, share=1)\n"
        "with tracing.root('s'): tracing.note('a', 1)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_collector_that_does_not_answer_delays_the_end_of_a_process_by_a_second_only():
    """OpenTelemetry itself would wait for 30 s here, because exports may take longer than that."""
    code = (
        "import atexit, sys, time; from parlando import tracing; tracing.EXPORT_WITHIN_S = 600\n"
        "atexit.register(lambda: print(time.monotonic() - ended))\n"  # runs last
        "tracing.configure('x', endpoint=sys.argv[1], share=1)\n"
        "with tracing.session('s'): tracing.note('a', 1)\n"
        "ended = time.monotonic()"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts connections, and is never read from
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = subprocess.run([sys.executable, "-c", code, address], check=True, capture_output=True)
    assert float(done.stdout) < 25, "seconds that the end took"
    assert tracing.EXPORT_WITHIN_S == 2


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    with structlog.testing.capture_logs() as logged:
        tracing.configure("x", endpoint="http://127.0.0.1:1", share=1)
    assert "pip install 'parlando[tracing]'" in logged[0]["why"]
    assert tracing.current() is None
