"""What carries the messages of a live protocol: a WebSocket, or a TCP connection."""

from typing import Protocol

from api_gateway.doors.base import Message


class ClientGone(Exception):
    """Raised when the client has left."""


class Transport(Protocol):
    """One client's connection. Every call raises `ClientGone` when the client has left."""

    async def receive(self) -> Message:
        """The next message."""
        ...

    async def send(self, message: Message) -> None:
        """Send a message; waits while the client doesn't read."""
        ...

    async def close(self, code: int, reason: str = "") -> None:
        """Close. A transport without close codes only logs them."""
        ...
