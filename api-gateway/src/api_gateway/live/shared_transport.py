"""Several sessions on one client's connection: a transport for each channel over one transport.

What the client sends is split by the `SplitProtocol`, and each part goes to its channel's transport. What the
channels send goes to the client, message by message.
"""

import asyncio
from typing import Final

from api_gateway.doors.base import Message, SplitProtocol
from api_gateway.live.ends import IdleError
from api_gateway.live.transport import ClientDisconnected, Transport

WAITING: Final = 4
"""Messages that may wait for one channel. While one channel's queue is full nothing is read from the client,
so that TCP slows it down."""


class ChannelTransport:
    """See `transport.Transport`: the transport of one channel."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(WAITING)
        self._finished = False

    async def put(self, message: Message | None) -> None:
        """Pass a message of the client to the channel; None if the client has disconnected."""
        if not self._finished:
            await self._messages.put(message)

    def finish(self) -> None:
        """The channel's session has closed: what still comes for it is discarded."""
        self._finished = True
        while not self._messages.empty():  # also wakes a `put` that waits
            self._messages.get_nowait()

    async def receive(self) -> Message:
        """See `Transport`."""
        message = await self._messages.get()
        if message is None:
            raise ClientDisconnected
        return message

    async def send(self, message: Message) -> None:
        """See `Transport`."""
        await self._transport.send(message)

    async def close(self, code: int, reason: str = "") -> None:
        """See `Transport`. Nothing is closed: the connection ends with its last channel."""


class SharedTransport:
    """Distributes one client's messages to `channels`.

    `default_idle_s`: seconds without a message after which the connection ends, if the protocol has no
    `idle_s`. It is measured here, because a channel for which nothing comes isn't idle.
    """

    def __init__(
        self, transport: Transport, protocol: SplitProtocol, count: int, *, default_idle_s: float
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._default_idle_s = default_idle_s
        self.channels = [ChannelTransport(transport) for _ in range(count)]

    async def run(self) -> None:
        """Distribute messages until the client disconnects. Raises `IdleError`, `ParlandoError`."""
        try:
            while True:
                message = await self._receive()
                for index, part in self._protocol.split(message):
                    if 0 <= index < len(self.channels):
                        await self.channels[index].put(part)
        except ClientDisconnected:
            for channel in self.channels:
                await channel.put(None)

    async def _receive(self) -> Message:
        """The client's next message.

        The idle time is waited for in halves: if this process was stopped, what the client has sent meanwhile
        is read within the second one.
        """
        receiving = asyncio.ensure_future(self._transport.receive())
        try:
            for _ in range(2):
                idle_s = self._protocol.idle_s or self._default_idle_s
                done, _ = await asyncio.wait([receiving], timeout=idle_s / 2)
                if done:
                    return receiving.result()
        finally:
            receiving.cancel()
        raise IdleError(f"The client has sent nothing for {idle_s:g} s")
