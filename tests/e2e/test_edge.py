"""What the gateway lets in before it knows who asks: heads, bodies, connections, names, addresses."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
import websockets

from support.cluster import Cluster
from support.edge import edge_cluster
from support.raw_http import Raw, ask, head

KEY = "X-API-Key: one"
MB = 1 << 20


@pytest.fixture(scope="module")
def cluster():
    with edge_cluster() as cluster:
        yield cluster


def memory_mb(cluster: Cluster) -> float:
    status = Path(f"/proc/{cluster.gateways[0].process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def metric(cluster: Cluster, name: str, gateway: int = 0) -> float:
    text = httpx.get(f"{cluster.http(gateway)}/metrics").text
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


async def until(true, within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.1)


def routes_with_a_body(cluster: Cluster) -> list[str]:
    paths = httpx.get(f"{cluster.http()}/openapi.json").json()["paths"]
    return [re.sub(r"\{\w+\}", "x", path) + "?uid=u" for path, methods in paths.items() if "post" in methods]


# --- bodies -----------------------------------------------------------------------------------------


async def test_without_a_key_no_route_reads_a_body(cluster):
    """Neither does it wait for one."""
    routes = routes_with_a_body(cluster)
    assert len(routes) >= 10
    for path in routes:
        for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
            lines = (f"Content-Type: {kind}", f"Content-Length: {1 << 30}")
            async with Raw(cluster.ports[0]) as raw:
                await raw.send(head("POST", path, *lines) + b"{")
                answer = await raw.answer()
            assert answer.status in (401, 404), path
            assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "path", ["/v1/stt/sessions/x/viewers", "/v1/stt/jobs", "/streaming?uid=u", "/nowhere"]
)
async def test_without_a_key_a_body_is_never_kept(cluster, path):
    before = memory_mb(cluster)
    lines = ("Content-Type: application/json", f"Content-Length: {400 * MB}")
    async with Raw(cluster.ports[0]) as raw:
        await raw.send(head("POST", path, *lines))
        sent = 0
        while sent < 100 and await raw.send(bytes(MB)):
            sent += 1
        grown = memory_mb(cluster) - before
        answer = await raw.until_closed()
    assert answer.status in (0, 401, 404)  # 0: it was sent, and lost with what was sent behind it
    assert sent < 100
    assert grown < 30


@pytest.mark.parametrize(
    "lines", [(f"Content-Length: {1 << 20}",), ("Transfer-Encoding: chunked",)], ids=["declared", "chunked"]
)
@pytest.mark.parametrize("path", ["/v1/stt/sessions/{sid}/viewers", "/v1/stt/jobs"])
async def test_a_json_body_has_a_limit(cluster, path, lines):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?token=one") as socket:
        sid = json.loads(await socket.recv())["session_id"]
        piece = b"10000\r\n" + b" " * (1 << 16) + b"\r\n" if "Transfer" in lines[0] else b" " * (1 << 16)
        request = head("POST", path.format(sid=sid), KEY, "Content-Type: application/json", *lines)
        answer = await ask(cluster.ports[0], request, *[piece] * 16)
    assert answer.status == 413


async def test_an_upload_has_a_limit_while_it_comes():
    with Cluster(transcribers=0, API_KEYS="one", MAX_UPLOAD_MB="2", OMI_MAX_BODY_MB="2") as small:
        form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for path in ("/v1/stt/jobs", "/v1/audio/transcriptions", "/inference", "/audio?uid=u"):
            lines = (KEY, "Content-Type: multipart/form-data; boundary=x", "Transfer-Encoding: chunked")
            pieces = [b"%x\r\n%s\r\n" % (len(part), part) for part in [form] + [bytes(1 << 18)] * 14]
            assert (await ask(small.ports[0], head("POST", path, *lines), *pieces)).status == 413, path
            ends = form + b"a\r\n--x--\r\n" + b"e" * (4 * MB)  # an epilogue
            whole = head("POST", path, *lines[:2], f"Content-Length: {len(ends)}") + ends
            assert (await ask(small.ports[0], whole)).status == 413, path


async def test_a_body_that_does_not_go_on_is_given_up(cluster):
    lines = (KEY, "Content-Type: multipart/form-data; boundary=x", "Content-Length: 1000")
    for path in ("/v1/stt/jobs", "/v1/audio/transcriptions", "/streaming?uid=u", "/inference"):
        answer = await ask(cluster.ports[1], head("POST", path, *lines) + b"--x\r\n")
        assert answer.status == 408, path


# --- heads ------------------------------------------------------------------------------------------

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.mark.parametrize("more", [(), UPGRADE], ids=["HTTP", "WebSocket"])
@pytest.mark.parametrize(
    "lines",
    [
        ("X-A: " + "a" * 70_000,),
        tuple(f"X-{n}: {'a' * 1000}" for n in range(70)),
        tuple(f"X-{n}: a" for n in range(120)),
    ],
    ids=["long", "many bytes", "many"],
)
async def test_a_head_that_is_too_big_is_refused(cluster, lines, more):
    answer = await ask(cluster.ports[0], head("GET", "/v1/stt/stream", *more, *lines))
    assert answer.status == 431


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        head("POST", "/v1/stt/jobs", "Transfer-Encoding: chunked", "Content-Type: application/json", KEY)
        + b"0\r\nX-A: ",
        head("POST", "/v1/stt/jobs", "Transfer-Encoding: chunked", "Content-Type: application/json", KEY)
        + b"1;a=",
    ],
    ids=["URL", "header", "headers", "trailer", "chunk extension"],
)
async def test_what_never_ends_is_not_kept(cluster, start):
    """Neither is it parsed again and again: 30 MB in small pieces took a gateway whole seconds."""
    before = memory_mb(cluster)
    piece = b"X-B: a\r\n" * 8192 if start.endswith(b"\r\n") else b"a" * (1 << 16)
    async with Raw(cluster.ports[0]) as raw:
        await raw.send(start)
        sent = 0
        while sent < 500 and await raw.send(piece):
            sent += 1
        grown = memory_mb(cluster) - before
        assert (await raw.until_closed()).status in (0, 400, 431)
    assert sent < 500
    assert grown < 20


async def test_a_websocket_header_that_its_parser_refuses_is_answered(cluster):
    answer = await ask(cluster.ports[0], head("GET", "/v1/stt/stream", *UPGRADE, "X-A: " + "a" * 9000))
    assert answer.status == 431


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"", 0),
        (b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ", 408),
        (b"\r\n\r\n", 408),
        (head("GET", "/v1/stt/stream", *UPGRADE)[:-2], 408),
    ],
    ids=["silent", "half", "empty lines", "handshake"],
)
async def test_a_head_must_come_in_time_however_slowly_it_is_sent(cluster, start, status):
    async with Raw(cluster.ports[1]) as raw:
        await raw.send(start)

        async def drip() -> None:
            while start and await raw.send(b"a" if len(start) > 4 else b"\r\n"):
                await asyncio.sleep(0.2)

        dripping = asyncio.create_task(drip())
        assert (await raw.until_closed()).status in (status, 0)
        dripping.cancel()


async def test_a_connection_that_is_kept_alive_ends_whatever_follows_but_a_request(cluster):
    for behind in (b"", b"\r\n", b"GET "):
        async with Raw(cluster.ports[1]) as raw:
            await raw.send(head("GET", "/ready"))
            assert (await raw.answer()).status == 200
            await raw.send(behind)
            await raw.until_closed()


async def test_pipelined_requests_get_one_answer_and_leave_nothing(cluster):
    """The second one, parsed, would hide from uvicorn that the client of the first one leaves."""
    many = b"".join(head("GET", "/ready") for _ in range(3000))
    answer = await ask(cluster.ports[0], many)
    assert answer.status == 200
    assert answer.raw.count(b"HTTP/1.1") == 1
    before = metric(cluster, "parlando_gateway_tcp_connections")
    async with Raw(cluster.ports[0]) as raw:
        await raw.send(head("GET", "/v1/cluster/events", KEY) + head("GET", "/ready"))
        while b"event: cluster" not in await raw.reader.read(1 << 16):
            pass
    await until(lambda: metric(cluster, "parlando_gateway_tcp_connections") <= before)


# --- connections ------------------------------------------------------------------------------------


async def test_one_address_gets_so_many_connections(cluster):
    held = [await Raw(cluster.ports[2]).__aenter__() for _ in range(8)]
    try:
        answer = await ask(cluster.ports[2], head("GET", "/ready", "Connection: close"))
        assert answer.status == 429
        assert b"MAX_CONNECTIONS_PER_ADDRESS" in answer.body
    finally:
        for raw in held:
            await raw.__aexit__()

    async def served() -> bool:
        return (await ask(cluster.ports[2], head("GET", "/ready", "Connection: close"))).status == 200

    async with asyncio.timeout(600):
        while not await served():
            await asyncio.sleep(0.1)


async def test_behind_a_trusted_proxy_the_clients_are_told_apart(cluster):
    async with httpx.AsyncClient(base_url=cluster.http(3), headers={"X-API-Key": "one"}) as client:

        async def follow(address: str) -> int:
            headers = {"X-Forwarded-For": f"198.51.100.9, {address}, 10.1.2.3"}
            request = client.build_request("GET", "/v1/cluster/events", headers=headers)
            answer = await client.send(request, stream=True)
            answers.append(answer)
            return answer.status_code

        answers: list[httpx.Response] = []
        try:
            assert [await follow("203.0.113.1") for _ in range(4)] == [200, 200, 200, 429]
            assert [await follow("203.0.113.2") for _ in range(4)] == [200, 200, 200, 429]
            assert answers[3].headers["retry-after"]
        finally:
            for answer in answers:
                await answer.aclose()


async def test_who_is_no_trusted_proxy_cannot_choose_its_address(cluster):
    held = [await Raw(cluster.ports[2]).__aenter__() for _ in range(8)]
    try:
        forged = head("GET", "/ready", "X-Forwarded-For: 203.0.113.77", "Connection: close")
        assert (await ask(cluster.ports[2], forged)).status == 429
    finally:
        for raw in held:
            await raw.__aexit__()


async def test_beyond_all_connections_new_ones_are_told_so(cluster):
    held = [await Raw(cluster.ports[4]).__aenter__() for _ in range(64)]
    try:
        answer = await ask(cluster.ports[4], head("GET", "/ready", "Connection: close"))
        assert answer.status == 503
    finally:
        for raw in held:
            await raw.__aexit__()


def test_the_limit_of_open_files_is_raised(cluster):
    limits = Path(f"/proc/{cluster.gateways[0].process.pid}/limits").read_text()
    soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()
    assert soft == hard
