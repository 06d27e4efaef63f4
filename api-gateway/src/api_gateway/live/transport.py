"""The interface of transports of live protocols: WebSockets and TCP connections."""

from typing import Protocol

from api_gateway.doors.base import Message


class ClientDisconnected(Exception):
    """Raised when the client has disconnected."""


class Transport(Protocol):
    """One client's connection. Every method raises `ClientDisconnected` when it has disconnected."""

    async def receive(self) -> Message:
        """Wait for the next message."""
        ...

    async def send(self, message: Message) -> None:
        """Send a message; waits while the client doesn't read."""
        ...

    async def close(self, code: int, reason: str = "") -> None:
        """Close. A transport without close codes only logs them."""
        ...
