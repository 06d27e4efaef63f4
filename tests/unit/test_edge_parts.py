"""Parts of the gateway's edge: values of headers, names, counted connections, how a socket ends."""

import asyncio
import json
import math
from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway import metrics
from api_gateway.deliveries.signature import verify
from api_gateway.live.connection import SessionFinished
from api_gateway.live.serve import counted
from api_gateway.live.transport import ClientDisconnected
from api_gateway.server.connections import CLOSING_S, STALLED_S, Connections, client_of, max_connections
from api_gateway.server.header_values import host_name, origin_name, whole_number
from api_gateway.server.request_limits import RequestLimits
from parlando.errors import AtCapacityError, InvalidRequestError
from parlando.ids import file_name, is_session_id, is_uid, one_line
from support.events import native

# --- values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("007", 7),
        ("²", None),
        ("٣", None),
        ("", None),
        ("-1", None),
        ("1.0", None),
        ("9" * 16, None),
    ],
)
def test_a_number_is_ascii_digits(text, number):
    assert whole_number(text) == number


@given(st.text())
def test_no_text_is_too_odd_for_a_number_or_a_name(text):
    assert whole_number(text) is None or text.isascii()
    host_name(text)
    origin_name(text)
    assert not is_uid(f"{text}\n")
    assert not is_session_id(f"{text}\n")
    assert one_line(file_name(text)) == file_name(text)
    verify(f"t={text},v1={text}", ["secret"], "u", b"", now=0)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8000", "localhost"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[", None),
        ("[::1", None),
        ("evil@127.0.0.1", None),
        ("127.0.0.1@evil", None),
        ("127.0.0.1:x", None),
        ("127.0.0.1:99999", None),
        ("127.0.0.1#evil", None),
        ("127.0.0.1/evil", None),
        ("", None),
    ],
)
def test_a_host_has_a_name_or_none(host, name):
    assert host_name(host) == name
    assert origin_name(f"https://{host}") == name


@pytest.mark.parametrize("origin", ["null", "localhost", "://localhost", "http:localhost"])
def test_an_origin_has_a_scheme(origin):
    assert origin_name(origin) is None


@pytest.mark.parametrize("chunk", ["é", "AAA", "*", "AA AA", "\0"])
def test_what_is_no_base64_is_not_understood(chunk):
    with pytest.raises(InvalidRequestError, match="Expected base64"):
        native().read(json.dumps({"type": "audio", "chunk": chunk}, ensure_ascii=False))


def test_names_are_whole_and_bounded():
    assert is_uid("a" * 128)
    assert is_session_id("a.b:c-d_e")
    for name in ("", "a" * 129, "a\n", "a/b", "..", "é"):
        assert not is_uid(name)
    for name in ("", "a" * 129, "a\n", ".a", "a/b"):
        assert not is_session_id(name)
    for title in ("a\nb", "a\0", "a\u2028b", "\x7f"):
        with pytest.raises(ValueError, match="control"):
            one_line(title)
    assert one_line("Ein Titel – 题目 🎙") == "Ein Titel – 题目 🎙"
    assert file_name("C:\\talks\\one.wav") == "one.wav"
    assert file_name("../../etc/pass\nwd") == "passwd"
    assert len(file_name("a" * 300)) == 200


# --- connections ------------------------------------------------------------------------------------


class Held:
    """A connection that is open until something closes it."""

    def __init__(self) -> None:
        self.deadline = self.stalled_since = math.inf
        self.ended = ""
        self.closing = False
        self.socket = SimpleNamespace(is_closing=lambda: self.closing, abort=lambda: self._end("aborted"))

    def expire(self) -> None:
        self._end("expired")

    def _end(self, how: str) -> None:
        self.ended = how


def test_connections_are_counted_by_address_and_network():
    counted = Connections(limit=6, max_per_client=2)
    held = [Held() for _ in range(9)]

    assert [counted.add(held[n], "192.0.2.1") for n in range(3)] == [None, None, 429]
    assert counted.add(held[3], "::ffff:192.0.2.1") == 429
    assert [counted.add(held[n], f"2001:db8::{n}") for n in (3, 4, 5)] == [None, None, 429]
    assert counted.add(held[5], "2001:db8:0:1::1") is None
    assert counted.add(held[6], "10.1.1.1") is None
    assert counted.add(held[7], "10.1.1.2") == 503
    counted.remove(held[7])  # it was never counted
    counted.remove(held[0])
    assert counted.add(held[8], "192.0.2.1") is None
    for connection_ in held:
        counted.remove(connection_)
    assert len(counted) == 0


def test_a_proxys_connections_count_for_the_clients_that_it_names():
    counted = Connections(limit=9, max_per_client=2, proxies=[ip_network("10.0.0.0/8")])
    held = [Held() for _ in range(7)]

    assert [counted.add(held[n], "10.1.1.1") for n in range(3)] == [None, None, 429], "silent ones count too"
    assert counted.forwarded(held[0], "10.1.1.1", "198.51.100.9, 203.0.113.1, 10.2.2.2") is None
    assert counted.forwarded(held[1], "10.1.1.1", "203.0.113.1:4711") is None
    assert [counted.add(held[n], "10.1.1.1") for n in (2, 3)] == [None, None]
    assert counted.forwarded(held[2], "10.1.1.1", "spoofed, 203.0.113.1") == 429
    assert counted.forwarded(held[2], "10.1.1.1", "[2001:db8::1]:4711") is None
    assert counted.forwarded(held[3], "10.1.1.1", "") is None
    assert counted.forwarded(held[1], "10.1.1.1", "203.0.113.2") is None, "kept alive, for another client"
    assert counted.forwarded(held[2], "10.1.1.1", "203.0.113.1") is None
    assert counted.forwarded(Held(), "10.1.1.1", "203.0.113.1") is None, "one that was refused"
    for connection_ in held:
        counted.remove(connection_)
    assert [counted.add(held[n], "10.1.1.1") for n in range(3)] == [None, None, 429]


def test_a_connection_that_becomes_a_websocket_is_counted_once():
    counted = Connections(limit=2, max_per_client=1)
    plain, upgraded = Held(), Held()
    counted.add(plain, "192.0.2.1")
    counted.hand_over(plain, upgraded)
    counted.remove(plain)
    assert counted.add(Held(), "192.0.2.1") == 429
    counted.remove(upgraded)
    assert counted.add(Held(), "192.0.2.1") is None


def test_what_is_overdue_is_ended():
    counted = Connections(limit=9, max_per_client=9)
    waiting, stalled, closing, well = held = [Held() for _ in range(4)]
    for connection_ in held:
        counted.add(connection_, "192.0.2.1")
    waiting.deadline, stalled.stalled_since, closing.closing = 5, 0, True

    counted.sweep(4)
    assert [connection_.ended for connection_ in held] == ["", "", "", ""]
    counted.sweep(5)
    assert [connection_.ended for connection_ in held] == ["expired", "", "", ""]
    counted.sweep(4 + CLOSING_S)
    assert [connection_.ended for connection_ in held] == ["expired", "", "aborted", ""]
    counted.sweep(STALLED_S)
    assert stalled.ended == "aborted"
    assert well.ended == ""


def test_connections_stay_below_the_limit_of_open_files():
    assert max_connections(16_384, 1 << 20) == 16_384
    assert max_connections(16_384, 1024) == 544
    assert max_connections(16_384, 256) == 64
    assert client_of("fe80::1%eth0") == "fe80::/64"
    assert client_of("") == ""


# --- how a socket ends ------------------------------------------------------------------------------


class Accepted:
    """A connection that has been accepted; what was said, and how it was closed."""

    def __init__(self, *, gone: bool = False) -> None:
        self.gone = gone
        self.told: list[str] = []
        self.closed: int | None = None

    async def send(self, message: str) -> None:
        self.told.append(json.loads(message)["code"])

    async def close(self, code: int, reason: str = "") -> None:
        if self.gone:
            raise ClientDisconnected
        self.closed = code

    async def serve(self, ends: BaseException) -> None:
        async with counted(self, native()):
            assert metrics.level(metrics.CONNECTIONS) == 1
            raise ends


@pytest.mark.parametrize(
    ("ends", "told", "closed"),
    [
        (SessionFinished(1000), [], 1000),
        (AtCapacityError("full"), ["at_capacity"], 1013),
        (ClientDisconnected(), [], None),
        (ZeroDivisionError(), ["internal"], 1011),
        (ExceptionGroup("both", [ZeroDivisionError(), KeyError()]), ["internal"], 1011),
    ],
)
async def test_every_end_of_a_connection_is_told(ends, told, closed):
    accepted = Accepted()
    await accepted.serve(ends)
    assert (accepted.told, accepted.closed) == (told, closed)
    assert metrics.level(metrics.CONNECTIONS) == 0


async def test_a_client_that_is_faster_is_no_fault():
    for ends in (SessionFinished(1000), ZeroDivisionError()):
        await Accepted(gone=True).serve(ends)
    assert metrics.level(metrics.CONNECTIONS) == 0


async def test_a_cancelled_connection_is_cancelled_and_counted_out():
    with pytest.raises(asyncio.CancelledError):
        await Accepted().serve(asyncio.CancelledError())
    assert metrics.level(metrics.CONNECTIONS) == 0


# --- bodies -----------------------------------------------------------------------------------------


async def test_a_stream_that_watches_for_its_client_is_not_ended_by_a_body_that_stalls():
    """The watching begins before the answer does, and a GET may say that a gigabyte follows."""
    came = asyncio.Queue()
    watched = asyncio.Event()
    scope = {"type": "http", "headers": [(b"content-length", b"1000000000")]}

    async def app(scope, receive, send):
        watching = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        came.put_nowait({"type": "http.request", "body": bytes(100_000), "more_body": True})
        assert (await watching)["body"] == b"", "nobody has asked for it"
        watching = asyncio.create_task(receive())
        await asyncio.sleep(0.2)  # longer than a body may be silent
        came.put_nowait({"type": "http.disconnect"})
        assert (await watching)["type"] == "http.disconnect"
        watched.set()

    async def send(message):
        assert (b"connection", b"close") in message["headers"]

    await RequestLimits(app, silent_s=0.05)(scope, came.get, send)
    assert watched.is_set()
