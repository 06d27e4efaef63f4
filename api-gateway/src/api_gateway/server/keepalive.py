"""WebSocket keepalive that tolerates back-pressure: it counts only silence while the gateway reads.

uvicorn's own keepalive waits for the pong of its last ping. While a connection is throttled the gateway
doesn't read, and afterwards the pong is behind all audio that the client has sent. So a healthy client that
sends faster than the cluster decodes would be disconnected. Here any received byte counts as a sign of life,
and time in which the gateway doesn't read isn't counted.
"""

import socket
from asyncio.transports import BaseTransport
from typing import Final

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

RECEIVE_BUFFER: Final = 128 << 10
"""The kernel's receive buffer of a connection, in bytes. A client's own ping waits behind its content: 128 KB
are 4 s of PCM, while the kernel's default buffer grows to several minutes."""
PROBES: Final = 3  # unanswered TCP probes until the kernel closes a connection


class KeepaliveProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with another keepalive rule."""

    received_at: float = 0.0
    """Loop time of the last received byte, or of the end of the last pause in reading."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Enable TCP keepalive too, which detects a dead peer while the gateway doesn't read."""
        super().connection_made(transport)
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            _enable_tcp_keepalive(connection, every_s=max(1, round(self.ping_interval or 20)))

    def data_received(self, data: bytes) -> None:
        """Parse. Any byte is a sign of life."""
        self.received_at = self.loop.time()
        super().data_received(data)

    async def receive(self) -> ASGIReceiveEvent:
        """The next message for the app. uvicorn resumes reading when its queue is empty."""
        paused = self.read_paused
        message = await super().receive()
        if paused and not self.read_paused:
            self.received_at = self.loop.time()
        return message

    def keepalive_timeout(self) -> None:
        """No pong arrived in time: close the connection if nothing else arrived either."""
        assert self.ping_timeout is not None
        silent = self.loop.time() - self.received_at
        if self.read_paused:
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
        elif silent < self.ping_timeout:
            self.pong_timer = self.loop.call_later(self.ping_timeout - silent, self.keepalive_timeout)
        else:
            super().keepalive_timeout()


def _enable_tcp_keepalive(connection: socket.socket, *, every_s: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", every_s), ("TCP_KEEPINTVL", every_s), ("TCP_KEEPCNT", PROBES)):
        if hasattr(socket, name):  # macOS has another name for the first one
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
