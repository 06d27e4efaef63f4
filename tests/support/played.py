"""What surrounds a live connection, played: its socket, its writer and its relay."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import orjson

from api_gateway.live.connection import LiveConnection
from api_gateway.live.transport import ClientDisconnected
from api_gateway.settings import GatewaySettings
from parlando.domain.commands import Flush, SessionCommand
from parlando.domain.formats import CANONICAL
from parlando.errors import (
    SessionClosedError,
    TooManyControlsError,
    UnavailableError,
)
from support.events import closed, enveloped, native

CLOSED = enveloped(closed())


class Played:
    """A connection's surroundings; `now` happens at once, what isn't told never does."""

    def __init__(self, *now: str, closed_after: float | None = None) -> None:
        self.now = now
        self.closed_after = closed_after
        self.sent: list[str] = []
        self.format, self.received, self.position, self.sid = CANONICAL, 100, 100, "s"

    async def receive(self) -> str:
        if "gone" in self.now:
            raise ClientDisconnected
        if "bug" in self.now:
            raise ZeroDivisionError
        return await asyncio.Future()

    async def send(self, message: str) -> None:
        self.sent.append(message)

    async def touch(self) -> None:
        if "ended" in self.now:
            raise SessionClosedError("Session s has ended")
        if "no redis" in self.now:
            raise UnavailableError("Redis is away")

    async def batches(self):
        if self.closed_after is None:
            await asyncio.Future()
        if self.closed_after:
            await asyncio.sleep(self.closed_after)
        yield [CLOSED]

    def connection(self) -> LiveConnection:
        relay = SimpleNamespace(batches=self.batches)
        return LiveConnection(self, self, relay, settings=GatewaySettings(), protocol=native())


class Said:
    """A client that says `messages` and then waits, and a writer that takes controls as `take` says."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.left = deque(orjson.dumps(message).decode() for message in messages)
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.controls: list[SessionCommand] = []
        self.format, self.received, self.sid = CANONICAL, 100, "s"
        self.read_all, self.may_take = asyncio.Event(), asyncio.Event()

    async def receive(self) -> str:
        if not self.left:
            self.read_all.set()
            await asyncio.Future()
        return self.left.popleft()

    async def send(self, message: str) -> None:
        self.sent.put_nowait(orjson.loads(message))

    async def touch(self) -> None:
        pass

    async def command(self, command: SessionCommand) -> None:
        await self.may_take.wait()
        if isinstance(command, Flush):
            raise TooManyControlsError("too many wait")
        self.controls.append(command)

    async def batches(self):
        await asyncio.Future()
        yield []

    def connection(self, **options: Any) -> LiveConnection:
        relay = SimpleNamespace(batches=self.batches)
        return LiveConnection(self, self, relay, settings=GatewaySettings(), protocol=native(), **options)


async def ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.wait([running])
