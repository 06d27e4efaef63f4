"""What the HTTP and the WebSocket protocol share as connections that `Connections` counts and limits."""

import asyncio
import math
from typing import cast

from api_gateway.server.connections import AbortableTransport, Connections


class CountedProtocol(asyncio.Protocol):
    """Mixin, placed before uvicorn's protocol class. Subclasses implement `expire`."""

    loop: asyncio.AbstractEventLoop
    deadline: float
    stalled_since: float
    _limits: Connections

    @property
    def socket(self) -> AbortableTransport:
        """See `connections.Connection`."""
        return cast(AbortableTransport, self.transport)  # type: ignore[attr-defined]  # uvicorn's

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        super().connection_lost(exc)
        self._limits.remove(self)

    def pause_writing(self) -> None:
        """The send buffer is full: the client doesn't read."""
        self.stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.stalled_since = math.inf
        super().resume_writing()

    def expire(self) -> None:
        """See `connections.Connection`."""
        raise NotImplementedError
