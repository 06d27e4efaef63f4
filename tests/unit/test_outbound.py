"""Calls to URLs that others have chosen: where they may go, and that they end in bounded time and memory."""

import asyncio
import socket
import time

import pytest

from parlando import outbound
from parlando.outbound import Outbound, RefusedAddressError, SendError, destination_of
from parlando.public_addresses import is_public

PIECE = b"x" * (1 << 16)


class Server:
    """Answers every connection on loopback with what `respond` writes."""

    def __init__(self, respond) -> None:
        self.written = 0
        self._respond = respond

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            async for part in self._respond():
                writer.write(part)
                await writer.drain()
                self.written += len(part)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


def head(status: str = "200 OK", *more: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *more, "", ""]).encode()


@pytest.fixture
async def client():
    made = Outbound(allow_private=True, setting="X")
    yield made
    await made.aclose()


# --- answers ---------------------------------------------------------------------------------------


async def test_an_answer_without_an_end_is_not_read(client):
    async def endless():
        yield head("200 OK", f"Content-Length: {1 << 40}")
        while True:
            yield PIECE

    async with Server(endless) as server:
        await client.post(server.url, b"{}", headers={})
        assert server.written < 64 << 20, "what fits into the buffers of two sockets"


@pytest.mark.parametrize("begin", [b"", head("200 OK"), b"HTTP/1.1 200 OK\r\n"])
async def test_an_answer_that_drips_is_given_up(client, begin):
    """Each byte comes in time, the whole doesn't."""

    async def drip():
        yield begin
        while True:
            yield b"H" if not begin.startswith(b"HTTP") else b"x"
            await asyncio.sleep(0.02)

    async with Server(drip) as server:
        with pytest.raises(SendError) as refused:
            await client.post(server.url, b"{}", headers={}, within_s=0.5)
    assert refused.value.code in ("timeout", "unreachable")  # of what isn't HTTP the latter


@pytest.mark.parametrize(("status", "code"), [("503 No", "http_503"), ("410 Gone", "http_410")])
async def test_a_refusal_is_told_with_its_beginning(client, status, code):
    async def refuse():
        yield head(status, "Content-Length: 8") + b"not here"

    async with Server(refuse) as server:
        with pytest.raises(SendError, match=rf"127\.0\.0\.1 answered {code[5:]}: not here") as refused:
            await client.post(server.url, b"{}", headers={})
    assert refused.value.code == code


async def test_a_connection_that_breaks_is_a_failure_to_send(client):
    async def nothing():
        return
        yield

    async with Server(nothing) as server:
        with pytest.raises(SendError) as refused:
            await client.post(server.url, b"{}", headers={})
    assert refused.value.code == "unreachable"


# --- downloads -------------------------------------------------------------------------------------


async def test_a_download_that_drips_is_given_up(client, monkeypatch):
    monkeypatch.setattr(outbound, "GRACE_S", 0.1)

    async def drip():
        yield head()
        while True:
            yield b"x"
            await asyncio.sleep(0.02)

    async with Server(drip) as server, client.get(server.url, min_bytes_per_s=1_000_000) as answer:
        assert answer.status == 200
        with pytest.raises(SendError) as refused:
            async for _ in answer.parts():
                pass
    assert refused.value.code == "too_slow"


async def test_a_download_comes_whole(client):
    async def body():
        yield head("200 OK", f"Content-Length: {10 * len(PIECE)}")
        for _ in range(10):
            yield PIECE

    async with Server(body) as server, client.get(server.url, min_bytes_per_s=1) as answer:
        assert b"".join([part async for part in answer.parts()]) == 10 * PIECE


async def test_a_head_that_drips_is_given_up(client, monkeypatch):
    monkeypatch.setattr(outbound, "HEAD_S", 0.5)

    async def drip():
        yield b"HTTP/1.1 200 OK\r\n"
        number = 0
        while True:
            number += 1
            yield b"X-%d: 1\r\n" % number
            await asyncio.sleep(0.02)

    async with Server(drip) as server:
        with pytest.raises(SendError) as refused:
            async with client.get(server.url, min_bytes_per_s=1):
                pass
    assert refused.value.code == "timeout"


async def test_redirects_are_followed_a_few_times(client):
    async def around():
        yield head("302 Found", "Location: /", "Content-Length: 0")

    async with Server(around) as server, client.get(server.url, min_bytes_per_s=1) as answer:
        assert answer.status == 302


# --- addresses -------------------------------------------------------------------------------------

REFUSED = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "192.0.0.8",
    "192.88.99.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::1",
    "fd00::1",
    "fe80::1%eth0",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:e000:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "fec0::1",
]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_or_holds_a_private_one_is_refused(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_taken(address):
    assert is_public(address)


def resolved(monkeypatch, *answers: list[str]) -> list[str]:
    """Have names resolve to the next of `answers`; the names that were asked for."""
    asked, left = [], list(answers)

    async def getaddrinfo(host, port, **_):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in left.pop(0)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
async def careful():
    made = Outbound(allow_private=False, setting="X")
    yield made
    await made.aclose()


async def test_a_name_with_one_private_address_among_others_is_refused(careful, monkeypatch):
    resolved(monkeypatch, ["8.8.8.8", "64:ff9b::7f00:1"])
    with pytest.raises(RefusedAddressError, match="X=1 allows it"):
        await careful.check("https://mixed.test/")


async def test_the_address_that_was_checked_is_the_one_called(careful, monkeypatch):
    asked = resolved(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    request = await careful._request("GET", outbound._parsed("http://rebind.test/x"), {})
    assert request.url.host == "8.8.8.8"
    assert request.headers["host"] == "rebind.test"
    assert asked == ["rebind.test"]


@pytest.mark.parametrize(
    "url",
    [
        f"http://{'a' * 70}.example/",
        "http://a..b/",
        "http://.../",
        "http://[::1",
        "http://a:99999/",
        "ftp://a/",
    ],
)
async def test_urls_that_can_not_be_called_are_refused(careful, url):
    began = time.monotonic()
    with pytest.raises(RefusedAddressError):
        await careful.check(url)
    assert time.monotonic() - began < 60


def test_hosts_and_ports_tell_destinations_apart():
    assert destination_of("https://user:secret@Hooks.Example.org:443/x?y") == "hooks.example.org"
    assert destination_of("https://hooks.example.org:8443/x") == "hooks.example.org:8443"
    assert destination_of("http://[::1") == ""
