"""uvicorn's WebSocket protocol, counted, with a time limit for its handshake and its own keepalive."""

import math
from typing import Any, Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.server import ServerState

from api_gateway.server.config import ServerConfig
from api_gateway.server.counted_protocol import CountedProtocol
from api_gateway.server.keepalive import KeepaliveProtocol

AT_ONCE: Final = 1 << 14  # bytes that are parsed before the app may take what is in them
_MALFORMED: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WebSocketProtocol(CountedProtocol, KeepaliveProtocol):
    """One connection, taken over from `HttpProtocol` when it has read the head of the handshake."""

    def __init__(self, config: ServerConfig, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._limits = config.limits
        self.deadline = self.loop.time() + config.head_timeout_s
        self.stalled_since = math.inf
        self._unparsed = bytearray()
        self._failed = False  # a close frame was the last that is written; what comes is thrown away

    def expire(self) -> None:
        """See `connections.Connection`. Who has been accepted is watched by pings and by `IDLE_TIMEOUT_S`."""
        if not self.handshake_complete:
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        """Pass a message on. One of text that isn't UTF-8 closes with 1007, also behind a close frame."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(self.frames):
            self.frames = []
            self.conn.fail(1007, "invalid UTF-8")
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer a ping, if not one behind a message that the parser didn't take."""
        if not self._failed:
            super().handle_ping()

    def handle_parser_exception(self) -> None:
        """Send the close frame and the end, and throw away what still comes until the client has closed.

        Closing at once, with bytes of the client unread, would reset the connection: the code would be lost.
        """
        if self._failed or self.transport.is_closing():
            return
        self._failed = True
        sent = self.conn.close_sent
        code, reason = (sent.code, sent.reason) if sent else (1006, "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    async def receive(self) -> ASGIReceiveEvent:
        """See ASGI; what waits behind the message is parsed when it has been taken."""
        message = await super().receive()
        self._parse()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """See ASGI; what still comes behind a close frame is parsed for the client's own."""
        await super().send(message)
        self._parse()

    def data_received(self, data: bytes) -> None:
        """Parse. A handshake that the parser refuses (a header of 9 KB) is answered, then closed."""
        self._unparsed += data
        self._parse()
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()) or _MALFORMED)
            self.transport.close()

    def _parse(self) -> None:
        """Parse up to the next message that the app hasn't taken.

        A kilobyte of deflated zeros is a megabyte: parsed at once, what a single read brings could be 256 MB.
        """
        while self._unparsed and not self.read_paused:
            part = bytes(self._unparsed[:AT_ONCE])
            del self._unparsed[:AT_ONCE]
            if not self._failed and not self.disconnected:
                super().data_received(part)


def _is_utf8(parts: list[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True
