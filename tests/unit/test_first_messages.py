"""What a client is answered before its session is open, by protocols that open it when it is needed."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from api_gateway.doors.base import Audio
from api_gateway.doors.wyoming import Wyoming
from api_gateway.handshake import Handshake
from api_gateway.live.connection import MAX_INVALID, IdleError
from api_gateway.live.first_messages import first_commands
from api_gateway.settings import GatewaySettings
from parlando.errors import InvalidRequestError


class Client:
    """A transport whose client sends `messages`, then nothing."""

    def __init__(self, *messages: bytes) -> None:
        self.left = deque(messages)
        self.sent: list[str] = []

    async def receive(self) -> bytes:
        if not self.left:
            await asyncio.Future()
        return self.left.popleft()

    async def send(self, message: str) -> None:
        self.sent.append(orjson.loads(message)["type"])


def event(kind: str, **data: Any) -> bytes:
    return orjson.dumps({"type": kind, "data": data}) + b"\n\1\2"


async def commands(client: Client, *, idle_s: float | None = None):
    async def pools() -> list:
        return []

    protocol = Wyoming(Handshake())
    protocol.idle_s = idle_s
    services: Any = SimpleNamespace(settings=GatewaySettings(), admission=SimpleNamespace(pools=pools))
    return await first_commands(client, protocol, services)


async def test_what_needs_no_session_is_answered_without_one():
    client = Client(
        event("ping"),
        event("describe"),
        event("transcribe", language="xx"),
        event("transcribe", language="en"),
        event("audio-chunk", rate=16000),
    )
    assert await commands(client) == [Audio(b"\1\2")]
    assert client.sent == ["pong", "info", "error"]


async def test_a_client_that_only_errs_is_refused():
    client = Client(*[event("transcribe", language="xx")] * MAX_INVALID)
    with pytest.raises(InvalidRequestError):
        await commands(client)
    assert client.sent == ["error"] * (MAX_INVALID - 1)


async def test_a_client_that_never_needs_a_session_is_idle_in_the_end():
    with pytest.raises(IdleError):
        await commands(Client(event("ping")), idle_s=0.01)
