"""uvicorn's WebSocket protocol, counted and with a time limit for its handshake."""

import math
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from api_gateway.connections import Transport
from api_gateway.server_config import ServerConfig

_MALFORMED = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection, taken over from `HttpProtocol` when it has read the head of the handshake."""

    def __init__(self, config: ServerConfig, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._limits = config.limits
        self.deadline = self.loop.time() + config.head_timeout_s
        self.stalled_since = math.inf

    @property
    def socket(self) -> Transport:
        """See `connections.Connection`."""
        return cast(Transport, self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Uncount it."""
        super().connection_lost(exc)
        self._limits.remove(self)

    def pause_writing(self) -> None:
        """The client takes nothing."""
        self.stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client takes what is sent."""
        self.stalled_since = math.inf
        super().resume_writing()

    def expire(self) -> None:
        """See `connections.Connection`. Who has been accepted is watched by pings and by `IDLE_TIMEOUT_S`."""
        if not self.handshake_complete:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse. A handshake that the parser refuses (a header of 9 KB) is answered, then closed."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()) or _MALFORMED)
            self.transport.close()
