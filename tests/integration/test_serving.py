"""Whom a gateway serves: addresses without keys, who reads metrics and health, HTTPS."""

import asyncio
import ssl

import httpx
import orjson
import pytest
import websockets
from structlog.testing import capture_logs

from api_gateway.__main__ import main
from api_gateway.app import create_app
from api_gateway.server.uvicorn_server import server_of
from api_gateway.settings import GatewaySettings
from parlando import logs
from support.asgi import ask
from support.ports import free_port
from support.tls import certificate

KEY = {"authorization": "Bearer one"}


@pytest.mark.parametrize(
    ("settings", "listens", "starts"),
    [
        ({}, "127.0.0.1", True),
        ({"api_keys": "one"}, "0.0.0.0", True),
        ({"host": "0.0.0.0"}, "", False),
        ({"host": "::"}, "", False),
        ({"host": "gateway.example"}, "", False),
        ({"host": "::1"}, "::1", True),
        ({"host": "localhost"}, "localhost", True),
        ({"host": "0.0.0.0", "api_keys": "one"}, "0.0.0.0", True),
        ({"tls_cert": "a.pem"}, "", False),
        ({"tls_cert": "a.pem", "tls_key": "b.pem"}, "127.0.0.1", True),
    ],
)
def test_without_keys_a_gateway_starts_for_this_machine_only(settings, listens, starts):
    made = GatewaySettings(**settings)
    assert (made.problem == "") is starts
    if starts:
        assert made.listen_host == listens


def test_a_gateway_that_must_not_start_says_what_to_do(monkeypatch):
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("API_KEYS", "")
    with capture_logs() as said:
        assert main() == 1
    [line] = said
    assert "Set API_KEYS" in line["error"]
    assert "HOST=127.0.0.1" in line["error"]


@pytest.mark.parametrize("networks", ["", "203.0.113.0/24"])
async def test_strangers_learn_only_whether_the_cluster_is_healthy(redis_server, tmp_path, networks):
    more = {"monitor_networks": networks} if networks else {}
    app = create_app(
        GatewaySettings(redis_url=redis_server.url, api_keys="one", blob_url=str(tmp_path), **more)
    )
    async with app.router.lifespan_context(app):
        health, ready = await ask(app, "GET", "/health"), await ask(app, "GET", "/ready")
        metrics = await ask(app, "GET", "/metrics")
        assert (health.status, ready.status) == (200, 503)
        if networks:
            assert "sessions" in orjson.loads(health.body)
            assert metrics.status == 200
        else:
            assert orjson.loads(health.body) == {"status": "degraded"}
            assert orjson.loads(ready.body) == {"ready": False}
            assert metrics.status == 401
        assert "sessions" in orjson.loads((await ask(app, "GET", "/health", headers=KEY)).body)
        assert (await ask(app, "GET", "/metrics", headers=KEY)).status == 200


async def test_https_and_wss_are_served_with_a_certificate(redis_server, tmp_path):
    cert, key = certificate(tmp_path)
    settings = GatewaySettings(
        redis_url=redis_server.url,
        api_keys="one",
        host="127.0.0.1",
        port=free_port(),
        tls_cert=str(cert),
        tls_key=str(key),
        blob_url=str(tmp_path / "blobs"),
    )
    server = server_of(create_app(settings), settings)
    with server.capture_signals():
        pass  # the test's own signals stay as they are
    serving = asyncio.create_task(server._serve())
    try:
        async with asyncio.timeout(600):
            while not server.started:
                await asyncio.sleep(0.01)
        trust = ssl.create_default_context(cafile=str(cert))
        async with httpx.AsyncClient(verify=trust) as client:
            answer = await client.get(f"https://127.0.0.1:{settings.port}/v1/models", headers=KEY)
            assert answer.status_code == 200
            with pytest.raises(httpx.HTTPError):
                await client.get(f"http://127.0.0.1:{settings.port}/v1/models", headers=KEY)
        address = f"wss://127.0.0.1:{settings.port}/v1/stt/stream"
        async with websockets.connect(address, ssl=trust, additional_headers=KEY) as socket:
            assert b"at_capacity" in (await socket.recv()).encode()
    finally:
        server.should_exit = True
        await serving
