"""uvicorn's WebSocket protocol with connection limits, a time limit for the handshake, and our keepalive."""

import math
from typing import Any, Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.server import ServerState
from websockets import frames
from websockets.protocol import State

from api_gateway.server.config import ServerConfig
from api_gateway.server.counted_protocol import CountedProtocol
from api_gateway.server.frames import BINARY, MASK_BYTES, TEXT, Head, head_of
from api_gateway.server.keepalive import KeepaliveProtocol
from api_gateway.server.messages import Messages

PARSE_BYTES: Final = 1 << 14  # bytes that are parsed at once
QUEUED_BYTES: Final = 1 << 14  # of messages that wait for the app, after which nothing more is read
MESSAGE_BYTES: Final = 128  # that a message counts in addition
_unmasked = frames.apply_mask  # type: ignore[attr-defined]  # in C where the library has it
_OPEN: Final = State.OPEN  # looking it up for each frame would take as long as the rest of the check
_MALFORMED: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WebSocketProtocol(CountedProtocol, KeepaliveProtocol):
    """One connection, handed over by `HttpProtocol` after the head of the handshake."""

    def __init__(self, config: ServerConfig, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._limits = config.limits
        self.queue = Messages(self.loop)
        self.deadline = self.loop.time() + config.head_timeout_s
        self.stalled_since = math.inf
        self._unparsed = bytearray()
        self._rest = 0  # bytes of a frame that the library still has to get
        self._queued = 0  # bytes of messages since the app has received all
        self._failed = False  # whether a close frame was sent for an error; further input is discarded

    def expire(self) -> None:
        """See `connections.Connection`. After the handshake, pings and `IDLE_TIMEOUT_S` apply instead."""
        if not self.handshake_complete:
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        """Pass a message that the library has parsed to the app."""
        parts, self.frames = self.frames, []
        self._pass_on(b"".join(parts), text=self.curr_msg_data_type == "text")

    def _pass_on(self, data: bytes, *, text: bool) -> None:
        """Queue a message for the app. Text that isn't UTF-8 closes the connection with 1007.

        Reading stops when `QUEUED_BYTES` wait. In uvicorn it stops after each message, by two system calls.
        """
        if self.close_sent:
            return
        if not text:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        else:
            try:
                self.queue.put_nowait({"type": "websocket.receive", "text": data.decode()})
            except UnicodeDecodeError:
                self.conn.fail(1007, "invalid UTF-8")
                self.handle_parser_exception()
                return
        self._queued += len(data) + MESSAGE_BYTES
        if self._queued >= QUEUED_BYTES and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

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
        if self.queue.empty():
            self._queued = 0
        if self._unparsed:
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
        self.received_at = self.loop.time()
        if self.handshake_initiated:
            self._unparsed += data
            self._parse()
            return
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()) or _MALFORMED)
            self.transport.close()

    def _parse(self) -> None:
        """Parse until `QUEUED_BYTES` wait for the app.

        A kilobyte of deflated zeros inflates to a megabyte: a single read, parsed at once, could take 256 MB.
        The library gets frames as a whole, or long ones in parts, so that each frame is either its or ours.
        """
        data = self._unparsed
        while data and not self.read_paused:
            if self._failed or self.disconnected:
                data.clear()
                return
            if not self._rest:
                head = head_of(data)
                if head is None or len(data) < head.end <= PARSE_BYTES:
                    return
                if self._is_plain(head):
                    mask = bytes(data[head.start - MASK_BYTES : head.start])
                    message = _unmasked(bytes(data[head.start : head.end]), mask)
                    del data[: head.end]
                    self._pass_on(message, text=head.first == TEXT)
                    continue
                self._rest = head.end
            part = bytes(data[: min(self._rest, PARSE_BYTES)])
            del data[: len(part)]
            self._rest -= len(part)
            super().data_received(part)

    def _is_plain(self, head: Head) -> bool:
        """Whether it is a short, whole message, as most are. docs/performance.md says what that saves."""
        return (
            head.first in (BINARY, TEXT)
            and head.masked
            and head.end <= PARSE_BYTES
            and head.end - head.start <= self.config.ws_max_size
            and self.conn.state is _OPEN
            and self.conn.current_size is None
        )
