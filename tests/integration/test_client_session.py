"""The Python client against a gateway that is played here: what it says again, and when it gives up."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve

from parlando.client import ClientError, connect
from parlando.client import session as client_session

GREETING = {"type": "connected", "session_id": "s", "resume_token": "token", "received": 0, "seq": 0}
RESUMED = {**GREETING, "resumed": True, "state": "open"}
CLOSED = {"type": "closed", "seq": 9, "reason": "end"}


class Gateway:
    """Runs one of `plays` for each connection in turn; notes each one's query and what the client said."""

    def __init__(self, *plays: Callable[["Gateway"], Awaitable[None]]) -> None:
        self._plays = list(plays)
        self.queries: list[dict[str, str]] = []
        self.said: list[list[bytes | dict]] = []

    async def __aenter__(self) -> str:
        self._server = await serve(self._serve, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *exc: object) -> None:
        self._server.close(close_connections=True)

    async def _serve(self, socket: ServerConnection) -> None:
        query = socket.request.path.partition("?")[2]
        self.queries.append(dict(pair.split("=") for pair in query.split("&") if pair))
        self.said.append([])
        self.socket = socket
        await self._plays.pop(0)(self)

    async def tell(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self, count: int) -> None:
        for _ in range(count):
            message = await self.socket.recv()
            self.said[-1].append(json.loads(message) if isinstance(message, str) else message)


async def greet_and_cut(gateway: Gateway) -> None:
    """Take one message, acknowledge nothing, and lose the connection."""
    await gateway.tell(**GREETING)
    await gateway.hear(1)
    gateway.socket.transport.abort()


async def kinds(session) -> list[str]:
    return [event["type"] async for event in session]


async def test_what_is_said_while_reconnecting_comes_in_its_place():
    said = asyncio.Event()

    async def resume(gateway: Gateway) -> None:
        await said.wait()
        await gateway.tell(**{**RESUMED, "received": 10})  # samples: all that was sent before
        await gateway.hear(5)
        await gateway.tell(type="flushed", seq=1)
        await gateway.tell(**CLOSED)

    gateway = Gateway(greet_and_cut, resume)
    async with gateway as url, asyncio.timeout(600), connect(url) as session:
        await session.send(bytes(20))
        while len(gateway.queries) < 2:
            await asyncio.sleep(0.01)
        await session.flush()
        await session.send(b"ab")
        await session.configure(language="de", words=True)
        await session.send(b"cd")
        await session.end()
        said.set()
        assert await kinds(session) == ["connected", "connected", "flushed", "closed"]

    config = {"type": "config", "language": "de", "words": True}
    assert gateway.said[1] == [{"type": "flush"}, b"ab", config, b"cd", {"type": "end"}]


async def test_a_lost_session_is_opened_anew_once_the_cluster_has_room():
    async def lose(gateway: Gateway) -> None:
        await gateway.tell(**GREETING)
        await gateway.hear(5)
        await gateway.tell(type="ack", received=4000, settled=512, settled_ms=32)
        final = {"type": "final", "seq": 3, "segment": 1, "text": "two"}
        await gateway.tell(**final, settled=1536, settled_ms=100)
        await gateway.tell(type="error", code="session_lost", message="", retryable=True)

    async def full(gateway: Gateway) -> None:
        await gateway.tell(type="error", code="at_capacity", message="", retryable=True)

    async def reopen(gateway: Gateway) -> None:
        await gateway.tell(**{**RESUMED, "received": 1536, "seq": 3, "reopened": True})
        await gateway.hear(5)
        await gateway.tell(**CLOSED)

    gateway = Gateway(lose, full, reopen)
    async with gateway as url, asyncio.timeout(600), connect(url, language="en", words=True) as session:
        for number in range(4):
            await session.send(bytes([number]) * 2000)
        await session.configure(language="de")
        await session.end()
        assert await kinds(session) == ["connected", "ack", "final", "connected", "closed"]

    again = {"session_id": "s", "resume": "token", "last_seq": "3", "start_at": "1536"}
    again |= {"settled_ms": "100", "segments": "2", "language": "en", "words": "true"}
    assert gateway.queries[1] == gateway.queries[2] == again
    audio = [bytes([1]) * (4000 - 3072), bytes([2]) * 2000, bytes([3]) * 2000]
    assert gateway.said[2] == [*audio, {"type": "config", "language": "de"}, {"type": "end"}]


async def test_what_is_settled_of_a_session_that_ends_by_itself_is_not_said_again():
    async def end(gateway: Gateway) -> None:
        await gateway.tell(**GREETING)
        await gateway.hear(1)
        await gateway.tell(type="error", code="session_lost", message="no FFmpeg", retryable=True, seq=1)

    async with Gateway(end) as url, asyncio.timeout(600), connect(url) as session:
        await session.send(bytes(20))
        with pytest.raises(ClientError, match="no FFmpeg"):
            await kinds(session)


async def test_too_much_that_is_not_settled_is_told_and_so_is_its_loss():
    async def lose(gateway: Gateway) -> None:
        await gateway.tell(**GREETING)
        for number in range(1, 5):
            await gateway.hear(1)
            await gateway.tell(type="ack", received=16_000 * number, settled=0, settled_ms=0)
        await gateway.tell(type="error", code="session_lost", message="", retryable=True)

    async def reopen(gateway: Gateway) -> None:
        await gateway.tell(**{**RESUMED, "received": 32_000, "reopened": True})
        await gateway.tell(**CLOSED)

    gateway = Gateway(lose, reopen)
    async with gateway as url, asyncio.timeout(600), connect(url, keep_s=2) as session:
        for _ in range(4):
            await session.send(bytes(32_000))
        events = [event async for event in session]

    assert [event["type"] for event in events].count("unprotected") == 1
    assert gateway.queries[1]["start_at"] == "32000"
    [lost] = [event for event in events if event["type"] == "status"]
    assert (lost["status"], lost["ms"], lost["reason"]) == ("lost", 2000, "unprotected")


@pytest.mark.parametrize("throttled", [False, True])
async def test_a_gateway_that_answers_nothing_is_left_unless_it_has_said_why(monkeypatch, throttled):
    monkeypatch.setattr(client_session, "PING_EVERY_S", 0.1)
    monkeypatch.setattr(client_session, "SILENT_S", 0.2)
    left = asyncio.Event()

    async def fall_silent(gateway: Gateway) -> None:
        await gateway.tell(**GREETING)
        if throttled:
            await gateway.tell(type="status", status="throttled", ms=1, reason="backlog")
        gateway.socket.transport.pause_reading()
        if throttled:
            await asyncio.sleep(1.5)
            gateway.socket.transport.resume_reading()
            await gateway.tell(**CLOSED)
        await left.wait()

    async def resume(gateway: Gateway) -> None:
        left.set()
        await gateway.tell(**RESUMED)
        await gateway.tell(**CLOSED)

    gateway = Gateway(fall_silent, resume)
    async with gateway as url, asyncio.timeout(600), connect(url) as session:
        found = await kinds(session)
        left.set()

    assert session.resumes == (0 if throttled else 1)
    assert found == (["connected", "status", "closed"] if throttled else ["connected", "connected", "closed"])


async def test_send_does_not_wait_for_room_in_a_session_that_has_closed():
    async def acknowledge_nothing_and_close(gateway: Gateway) -> None:
        await gateway.tell(**GREETING)
        await gateway.hear(4)
        await gateway.tell(**CLOSED)

    async with Gateway(acknowledge_nothing_and_close) as url, connect(url) as session:
        for _ in range(4):
            await session.send(bytes(client_session.MAX_UNACKED // 4))
        more = asyncio.create_task(session.send(b"more"))
        assert await kinds(session) == ["connected", "closed"]
        await asyncio.wait_for(more, 60)
