"""Several channels on one connection: who gets which message, and how they end."""

import asyncio
from collections.abc import Sequence

import pytest

from api_gateway.doors.base import LiveProtocol, Message, Refusal, SplitProtocol
from api_gateway.handshake import Handshake
from api_gateway.live.ends import IdleError
from api_gateway.live.shared_transport import WAITING, SharedTransport
from api_gateway.live.transport import ClientDisconnected
from parlando.errors import ParlandoError


class ByFirstLetter(SplitProtocol):
    """`0…` goes to channel 0, `1…` to channel 1, anything else to both."""

    def channels(self, first: Message | None) -> Sequence[LiveProtocol]:
        return []

    def split(self, message: Message) -> Sequence[tuple[int, Message]]:
        if message[0] in "01":
            return [(int(message[0]), message[1:])]
        return [(0, message), (1, message)]

    def refusal(self, error: ParlandoError) -> Refusal:
        return Refusal((), 1011, error.code)


class Client:
    """A transport whose messages a test gives."""

    def __init__(self, *messages: str) -> None:
        self.messages: asyncio.Queue[str | None] = asyncio.Queue()
        for message in messages:
            self.messages.put_nowait(message)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        message = await self.messages.get()
        if message is None:
            raise ClientDisconnected
        return message

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def close(self, code: int, reason: str = "") -> None:
        raise AssertionError("a channel doesn't close the connection")


def shared(client: Client, *, idle_s: float = 60.0) -> SharedTransport:
    return SharedTransport(client, ByFirstLetter(Handshake()), 2, default_idle_s=idle_s)


async def test_each_channel_gets_its_messages_and_all_send_to_the_client():
    client = Client("0a", "1b", "both", "1c")
    transport = shared(client)
    running = asyncio.create_task(transport.run())
    left, right = transport.channels
    assert [await left.receive(), await left.receive()] == ["a", "both"]
    assert [await right.receive() for _ in range(3)] == ["b", "both", "c"]
    await right.send("from right")
    await left.send("from left")
    await left.close(1000)
    assert client.sent == ["from right", "from left"]
    client.messages.put_nowait(None)
    for channel in transport.channels:
        with pytest.raises(ClientDisconnected):
            await channel.receive()
    await running


async def test_a_channel_that_does_not_read_stops_the_reading():
    client = Client(*[f"0{n}" for n in range(WAITING + 3)], "1x")
    transport = shared(client)
    running = asyncio.create_task(transport.run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert client.messages.qsize() == 3  # WAITING are queued, one is in hand, the rest isn't read
    assert [await transport.channels[0].receive() for _ in range(WAITING + 3)] == [
        str(n) for n in range(WAITING + 3)
    ]
    assert await transport.channels[1].receive() == "x"
    running.cancel()


async def test_what_comes_for_a_channel_that_has_finished_is_discarded():
    client = Client(*[f"0{n}" for n in range(3 * WAITING)], "1x")
    transport = shared(client)
    running = asyncio.create_task(transport.run())
    for _ in range(50):
        await asyncio.sleep(0)
    transport.channels[0].finish()
    assert await transport.channels[1].receive() == "x"
    running.cancel()


async def test_a_client_that_sends_nothing_is_idle():
    with pytest.raises(IdleError, match="sent nothing"):
        await shared(Client(), idle_s=0.05).run()
