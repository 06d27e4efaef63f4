"""uvicorn's WebSocket protocol with connection limits, a time limit for the handshake, and our keepalive."""

import math
from typing import Any, Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.server import ServerState

from api_gateway.server.config import ServerConfig
from api_gateway.server.counted_protocol import CountedProtocol
from api_gateway.server.keepalive import KeepaliveProtocol

PARSE_BYTES: Final = 1 << 14  # bytes that are parsed before the app receives the messages in them
_MALFORMED: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WebSocketProtocol(CountedProtocol, KeepaliveProtocol):
    """One connection, handed over by `HttpProtocol` after the head of the handshake."""

    def __init__(self, config: ServerConfig, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._limits = config.limits
        self.deadline = self.loop.time() + config.head_timeout_s
        self.stalled_since = math.inf
        self._unparsed = bytearray()
        self._failed = False  # whether a close frame was sent for an error; further input is discarded

    def expire(self) -> None:
        """See `connections.Connection`. After the handshake, pings and `IDLE_TIMEOUT_S` apply instead."""
        if not self.handshake_complete:
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        """Pass a message to the app. Text that isn't UTF-8 closes the connection with 1007."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(self.frames):
            self.frames = []
            self.conn.fail(1007, "invalid UTF-8")
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer a ping, unless the connection has failed."""
        if not self._failed:
            super().handle_ping()

    def handle_parser_exception(self) -> None:
        """Send the close frame and EOF, and discard further input until the client has closed.

        Closing at once, with unread input, would reset the connection, and the client would lose the code.
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
        """See ASGI. Parses the bytes after the message."""
        message = await super().receive()
        self._parse()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """See ASGI. After a close frame, parses the input for that of the client."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # else uvicorn logs an error about every handshake that is refused
        self._parse()

    def data_received(self, data: bytes) -> None:
        """Parse. A handshake that the parser refuses (such as a header of 9 KB) is answered, then closed."""
        self._unparsed += data
        self._parse()
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()) or _MALFORMED)
            self.transport.close()

    def _parse(self) -> None:
        """Parse until a message waits for the app.

        A kilobyte of deflated zeros inflates to a megabyte: a single read, parsed at once, could take 256 MB.
        """
        while self._unparsed and not self.read_paused:
            part = bytes(self._unparsed[:PARSE_BYTES])
            del self._unparsed[:PARSE_BYTES]
            if not self._failed and not self.disconnected:
                super().data_received(part)


def _is_utf8(parts: list[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True
