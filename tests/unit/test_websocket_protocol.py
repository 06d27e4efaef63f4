"""What a WebSocket takes at a time, and its frames, which may arrive in any pieces."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from api_gateway.server.config import ServerConfig
from api_gateway.server.connections import Connections
from api_gateway.server.frames import head_of
from api_gateway.server.websocket_protocol import PARSE_BYTES, WebSocketProtocol

MAX_BYTES = 100_000


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.reading, self.closed, self.written = True, False, b""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.write(b"<EOF>")

    def close(self) -> None:
        self.closed = True


async def upgraded(app, handshake: bytes = b"") -> tuple[WebSocketProtocol, Wire]:
    """A WebSocket whose handshake has come."""
    limits = Connections(limit=9, max_per_client=9)
    config = ServerConfig(
        app, connections=limits, head_timeout_s=10, lifespan="off", ws_max_size=MAX_BYTES, log_level="error"
    )
    config.load()
    protocol, wire = WebSocketProtocol(config, ServerState(), {}), Wire()
    protocol.connection_made(wire)
    lines = ("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade")
    keys = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    protocol.data_received(handshake or "\r\n".join([*lines, *keys, "", ""]).encode())
    return protocol, wire


def framed(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True, extensions=[])


async def test_messages_are_parsed_as_they_are_taken_and_all_of_them_in_order():
    """A single read of a quarter of a megabyte may hold forty thousand, or 256 MB once inflated."""
    taken, waiting = [], []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(0)
        while (message := await receive())["type"] != "websocket.disconnect":
            taken.append(int(message["text"]))
            waiting.append(protocol.queue.qsize())

    protocol, wire = await upgraded(app)
    numbers = range(20_000)
    await asyncio.sleep(0)
    protocol.data_received(b"".join(framed(Opcode.TEXT, b"%d" % number) for number in numbers))
    assert not wire.reading
    while len(taken) < len(numbers):
        await asyncio.sleep(0)
    assert taken == list(numbers)
    assert max(waiting) < 3000
    assert wire.reading
    protocol.connection_lost(None)


async def test_a_text_that_is_not_utf8_is_closed_with_1007_even_behind_a_close_frame():
    for before in (b"", framed(Opcode.CLOSE, b"\x03\xe8")):
        ended = asyncio.Event()

        async def app(scope, receive, send, ended=ended):
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            ended.set()

        protocol, wire = await upgraded(app)
        await asyncio.sleep(0)
        start = len(wire.written)
        protocol.data_received(framed(Opcode.TEXT, b"\xff") + before + framed(Opcode.PING, b"x"))
        await asyncio.wait_for(ended.wait(), 60)
        assert wire.written[start:].endswith(b"<EOF>")
        assert b"\x88" in wire.written[start:]
        assert before or b"\x03\xef" in wire.written[start:]  # 1007
        protocol.connection_lost(None)


# --- frames in pieces -------------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 125, 126, 640, PARSE_BYTES - 8, PARSE_BYTES, 66_000])
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["text", "binary", "parts", "ping"]), SIZES, st.integers(0, 255)), max_size=12
)


def _sent(client: ClientProtocol, kind: str, size: int, seed: int) -> str | bytes:
    """Let a client send a message; returns what a server receives."""
    data = bytes((seed + at) % 251 for at in range(size))
    text = "".join(chr(97 + each % 26) for each in data[: size // 2]) + "é" * (size // 4)
    match kind:
        case "text":
            client.send_text(text.encode())
            return text
        case "binary":
            client.send_binary(data)
        case "parts":
            client.send_binary(data[:7], fin=False)
            client.send_ping(b"between")
            client.send_continuation(data[7:], fin=True)
        case "ping":
            client.send_ping(data[:125])
    return data


@settings(max_examples=150)
@given(MESSAGES, st.booleans(), st.lists(st.integers(1, 40_000), min_size=1, max_size=20))
def test_every_message_arrives_however_its_bytes_are_cut(messages, deflated, cuts):
    async def run() -> None:
        extensions = [ClientPerMessageDeflateFactory()] if deflated else None
        client = ClientProtocol(parse_uri("ws://x/"), extensions=extensions, max_size=None)
        client.send_request(client.connect())
        heard: list[str | bytes] = []
        protocol, wire = await upgraded(_listening(heard), b"".join(client.data_to_send()))
        await asyncio.sleep(0)
        client.receive_data(wire.written)
        assert bool(client.extensions) == deflated
        start = len(wire.written)
        sent = [(kind, _sent(client, kind, size, seed)) for kind, size, seed in messages]
        data = b"".join(client.data_to_send())
        at = 0
        while data:
            cut = cuts[at % len(cuts)]
            protocol.data_received(data[:cut])
            data, at = data[cut:], at + 1
            while not wire.reading:
                await asyncio.sleep(0)
        expected = [message for kind, message in sent if kind != "ping"]
        while len(heard) < len(expected):
            await asyncio.sleep(0)
        assert heard == expected
        client.receive_data(wire.written[start:])
        pongs = [event for event in client.events_received() if getattr(event, "opcode", None) is Opcode.PONG]
        assert len(pongs) == sum(kind in ("ping", "parts") for kind, _ in sent)
        protocol.connection_lost(None)

    asyncio.run(run())


def _listening(heard: list):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            heard.append(message["text"] if "text" in message else bytes(message["bytes"]))

    return app


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (
            framed(Opcode.BINARY, b"x", fin=False) + framed(Opcode.BINARY, b"y"),
            1002,
        ),  # a message in a message
        (framed(Opcode.CONT, b"x"), 1002),
        (Frame(Opcode.BINARY, b"x").serialize(mask=False, extensions=[]), 1002),
        (b"\xc2\x81\0\0\0\0x", 1002),  # compressed, which wasn't agreed
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that isn't defined
        (b"\x82\xff" + (1 << 62).to_bytes(8, "big"), 1009),  # more than the largest message
        (framed(Opcode.BINARY, bytes(MAX_BYTES + 1)), 1009),
        (framed(Opcode.TEXT, b"\xc3"), 1007),
        (framed(Opcode.TEXT, b"\xc3", fin=False) + framed(Opcode.CONT, b"(", fin=True), 1007),
    ],
    ids=range(9),  # masks are random, and all processes of pytest-xdist must find the same tests
)
@pytest.mark.parametrize("cut", [1, 3, 1 << 20])
async def test_what_breaks_the_protocol_ends_the_connection_with_its_code(frames, code, cut):
    heard: list = []
    protocol, wire = await upgraded(_listening(heard))
    await asyncio.sleep(0)
    start = len(wire.written)
    data = framed(Opcode.BINARY, b"before") + frames + framed(Opcode.BINARY, b"behind")
    for at in range(0, len(data), cut):
        protocol.data_received(data[at : at + cut])
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert heard == [b"before"]
    answer = wire.written[start:]
    assert answer[:1] == b"\x88"
    assert int.from_bytes(answer[2:4], "big") == code
    protocol.connection_lost(None)


@given(st.integers(0, 1 << 40), st.booleans())
def test_a_head_is_read_as_soon_as_its_length_is_there(length, masked):
    small = bytes([length]) if length < 126 else b""
    size = small or (
        b"\x7e" + length.to_bytes(2, "big") if length < 1 << 16 else b"\x7f" + length.to_bytes(8, "big")
    )
    data = bytes([0x82, size[0] | (0x80 if masked else 0)]) + size[1:]
    assert all(head_of(data[:count]) is None for count in range(len(data)))
    head = head_of(data)
    assert head is not None
    start = len(data) + (4 if masked else 0)
    assert head == (0x82, masked, start, start + length)
