"""What is asked of the gateway, and by whom: names, strangers, foreign pages."""

import asyncio
import json

import httpx
import pytest
import websockets

from support.cluster import Cluster
from support.edge import edge_cluster
from support.raw_http import ask, head

KEY = "X-API-Key: one"
MB = 1 << 20


@pytest.fixture(scope="module")
def cluster():
    with edge_cluster() as cluster:
        yield cluster


async def until(true, within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.1)


# --- what is asked and by whom ----------------------------------------------------------------------


async def test_no_value_of_a_header_or_field_is_an_error_of_ours(cluster):
    port, boundary = cluster.ports[0], "b" * 257
    form = (
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF\r\n'
        '--x\r\nContent-Disposition: form-data; name="callback_url"\r\n\r\n{}\r\n--x--\r\n'
    )
    for url in ("http://a..b/", f"http://{'a' * 64}.com/"):
        body = form.format(url).encode()
        lines = (KEY, "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}")
        assert (
            await ask(port, head("POST", "/v1/stt/jobs", *lines, "Connection: close") + body)
        ).status == 400
    for path in ("/v1/stt/jobs", "/v1/audio/transcriptions", "/inference", "/audio?uid=u"):
        lines = (KEY, f"Content-Type: multipart/form-data; boundary={boundary}", "Content-Length: 1")
        assert (await ask(port, head("POST", path, *lines, "Connection: close") + b"x")).status == 400
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF\r\n'
        b'--x\r\nContent-Disposition: form-data; name="language"\r\n\r\nabc\n\r\n--x--\r\n'
    )
    lines = (KEY, "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}")
    assert (await ask(port, head("POST", "/inference", *lines, "Connection: close") + body)).status == 415
    # a chunk that isn't one, behind a request that waits to be told to go on
    lines = (KEY, "Content-Type: text/plain", "Expect: 100-continue", "Transfer-Encoding: chunked")
    assert (await ask(port, head("POST", "/streaming?uid=u", *lines) + b"zz\r\n")).status == 400
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?token=one&session_id=digits") as socket:
        await socket.recv()
        await socket.send('{"type":"end"}')
        async for _ in socket:
            pass
    lines = (KEY, "Last-Event-ID: \xb2", "Connection: close")
    assert (await ask(port, head("GET", "/v1/stt/sessions/digits/events", *lines))).status == 200


async def test_names_that_are_none_are_refused_at_every_door(cluster):
    base, key = cluster.http(), {"X-API-Key": "one"}
    for uid in ("../x", "a/b", "x" * 129, "abc\n", "", "é"):
        wav = {"file": ("a.wav", b"RIFF")}
        answer = httpx.post(f"{base}/audio", headers=key, data={"uid": uid}, files=wav)
        assert answer.status_code == 400, uid
        for path in ("/audio", "/streaming"):
            answer = httpx.post(f"{base}{path}", headers=key, params={"uid": uid}, content=b"\0\0")
            assert answer.status_code in (400, 422), uid
    for names in (
        {"session_id": "abc\n"},
        {"session_id": "a/b"},
        {"uid": "abc\n"},
        {"title": "a\nb"},
        {"title": "a" * 201},
    ):
        async with websockets.connect(f"{cluster.url()}/v1/stt/stream?token=one") as socket:
            await socket.send(json.dumps({"type": "start", **names}))
            assert json.loads(await socket.recv())["code"] == "invalid_request", names
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?token=one") as socket:
        await socket.send(json.dumps({"type": "audio", "chunk": "", "session_id": "abc\n"}))
        assert json.loads(await socket.recv())["session_id"].startswith("s_")


async def test_a_stranger_does_not_learn_which_sessions_there_are(cluster):
    async def refusal(query: str) -> dict:
        async with websockets.connect(f"{cluster.url()}/v1/stt/stream?token=two&{query}") as socket:
            said = json.loads(await socket.recv())
            await socket.wait_closed()
        return {**said, "close": socket.close_code}

    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?token=one&session_id=exists") as socket:
        await socket.recv()
        there = await refusal("session_id=exists&resume=guess")
    missing = await refusal("session_id=exists2&resume=guess")
    assert there["code"] == "session_not_found"
    assert {**there, "message": there["message"].replace("exists", "exists2")} == missing


async def test_without_keys_a_page_of_another_name_reads_nothing():
    with Cluster(transcribers=0) as keyless:
        port = keyless.ports[0]
        for path in ("/health", "/ready", "/metrics", "/v1/stt/jobs", "/v1/cluster"):
            for host in ("evil.example", "[", "evil.example@127.0.0.1", "127.0.0.1:x", "127.0.0.1#evil"):
                request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                assert (await ask(port, request)).status == 401, (path, host)
            for origin in (
                "http://[",
                "null",
                "http://evil.example@localhost",
                "http://localhost.evil.example",
            ):
                answer = await ask(port, head("GET", path, f"Origin: {origin}", "Connection: close"))
                assert answer.status == 401, (path, origin)
        old = await ask(port, b"GET /health HTTP/1.0\r\n\r\n")
        assert old.status == 401
        assert b"Expected the header Host" in old.body
        for path in ("/health", "/v1/stt/stream"):
            answer = await ask(port, head("GET", path, "Host: evil.example", "Connection: close"))
            assert answer.status == 400, "one of two hosts would be checked, and another one used"
        for name in ("http://[", "null"):
            async with websockets.connect(f"{keyless.url()}/v1/stt/stream", origin=name) as socket:
                assert json.loads(await socket.recv())["code"] == "not_allowed"


async def test_health_says_nothing_of_errors():
    """Nor of paths: it asks for no key."""
    with Cluster(transcribers=0, API_KEYS="one") as lonely:
        lonely.redis.kill()

        def report() -> dict:
            return httpx.get(f"{lonely.http()}/health", timeout=600).json()

        await until(lambda: report()["status"] == "unhealthy")  # what was seen a moment ago is told again
        assert report()["services"] == {"redis": "unreachable", "whisper": "unknown"}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/v1/stt/jobs", "authorization"),
        ("GET", "/v1/stt/jobs", "authorization"),
        ("DELETE", "/v1/stt/jobs/j_0", "authorization"),
        ("GET", "/v1/stt/jobs/j_0/events", "authorization,last-event-id"),
        ("GET", "/v1/stt/jobs/j_0/result", "authorization"),
        ("POST", "/v1/stt/jobs", "authorization,idempotency-key"),
        ("POST", "/v1/stt/sessions/x/viewers", "authorization,content-type"),
        ("DELETE", "/v1/stt/sessions/x/viewers/0", "authorization"),
        ("GET", "/v1/stt/sessions/x/events", "authorization,last-event-id"),
        ("GET", "/v1/cluster/events", "authorization,last-event-id"),
        ("POST", "/v1/audio/transcriptions", "authorization,x-stainless-lang"),
        ("DELETE", "/transcripts/u", "x-api-key"),
    ],
)
def test_pages_of_named_origins_may_do_what_the_sdks_do(cluster, method, path, headers):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    answer = httpx.options(f"{cluster.http()}{path}", headers={"Origin": "https://app.example", **asked})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert method in answer.headers["access-control-allow-methods"]
    assert set(headers.split(",")) <= set(
        answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    )
    foreign = httpx.options(f"{cluster.http()}{path}", headers={"Origin": "https://evil.example", **asked})
    assert foreign.status_code == 400


def test_pages_may_read_refusals_and_when_to_come_again(cluster):
    answer = httpx.get(f"{cluster.http()}/v1/stt/jobs", headers={"Origin": "https://app.example"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "path", ["/streaming", "/audio", "/omi/setup", "/omi/{key}/setup", "/omi/{key}/audio"]
)
def test_omis_set_up_checks_document_that_a_key_is_unknown(cluster, path):
    documented = httpx.get(f"{cluster.http()}/openapi.json").json()["paths"][path]["get"]["responses"]
    answer = httpx.get(f"{cluster.http()}{path.replace('{key}', 'wrong')}")
    assert answer.status_code == 404
    assert "404" in documented
