"""WebSocket keepalive that tolerates back-pressure: a client is gone only if it is silent while it is read.

uvicorn's own keepalive waits for the pong of its last ping. While a connection is throttled the gateway
doesn't read, and afterwards the pong lies behind all audio that the client had sent, so that a healthy client
which sends faster than the cluster decodes would be cut. Here any received byte counts, and the time in which
nothing was read doesn't.
"""

import socket
from asyncio.transports import BaseTransport
from typing import Final

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

RECEIVE_BUFFER: Final = 128 << 10
"""Bytes that the kernel keeps for a connection which isn't read. A client's own ping waits behind them:
128 KB are 4 s of PCM, while the kernel's default grows to several minutes."""
PROBES: Final = 3  # unanswered TCP probes until the kernel gives a connection up


class KeepaliveProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with another rule for when a client is gone."""

    received_at: float = 0.0
    """Loop time of the last byte, or of the moment at which reading went on after a pause."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Have the kernel probe the peer as well: it notices a dead one while the gateway doesn't read."""
        super().connection_made(transport)
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            _probe(connection, every_s=max(1, round(self.ping_interval or 20)))

    def data_received(self, data: bytes) -> None:
        """Any byte is a sign of life."""
        self.received_at = self.loop.time()
        super().data_received(data)

    async def receive(self) -> ASGIReceiveEvent:
        """The next message for the application; reading goes on when it was the last one that waited."""
        paused = self.read_paused
        message = await super().receive()
        if paused and not self.read_paused:
            self.received_at = self.loop.time()
        return message

    def keepalive_timeout(self) -> None:
        """No pong has come in time: end the connection if nothing else has come either."""
        assert self.ping_timeout is not None
        silent = self.loop.time() - self.received_at
        if self.read_paused:
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
        elif silent < self.ping_timeout:
            self.pong_timer = self.loop.call_later(self.ping_timeout - silent, self.keepalive_timeout)
        else:
            super().keepalive_timeout()


def _probe(connection: socket.socket, *, every_s: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", every_s), ("TCP_KEEPINTVL", every_s), ("TCP_KEEPCNT", PROBES)):
        if hasattr(socket, name):  # macOS calls the first one otherwise
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
