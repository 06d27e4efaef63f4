"""uvicorn's HTTP protocol, with limits that apply before the API key is checked.

uvicorn with httptools limits neither the size of a request's head nor the time until it is complete, and
queues any number of pipelined requests. (docs/decisions/0011-limits-before-the-key.md)
"""

import asyncio
import math
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api_gateway import metrics
from api_gateway.server.config import ServerConfig
from api_gateway.server.counted_protocol import CountedProtocol
from api_gateway.server.websocket_protocol import WebSocketProtocol

MAX_HEAD: Final = 1 << 16  # bytes of a request line and its headers
MAX_HEADERS: Final = 100
LINGER_S: Final = 2.0  # how long a refused connection stays open, so that its client can read the answer
LINGER_BYTES: Final = 1 << 20  # input that is discarded meanwhile; after more the connection is closed
_TEXTS: Final = {
    HTTPStatus.BAD_REQUEST: "Invalid HTTP request",
    HTTPStatus.REQUEST_TIMEOUT: "The head of the request did not arrive in time",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many connections from this address (MAX_CONNECTIONS_PER_ADDRESS)",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"Expected a head of at most {MAX_HEAD >> 10} KB and "
    f"{MAX_HEADERS} headers",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too many connections (MAX_CONNECTIONS)",
}
_RETRYABLE: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class _Refused(Exception):
    """Raised in a parser callback: the parser stops, and uvicorn calls `send_400_response`."""


class HttpProtocol(CountedProtocol, HttpToolsProtocol):
    """One connection. A head must come within `HEAD_TIMEOUT_S`."""

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._config = config
        self._limits = config.limits
        self._head_timeout_s = config.head_timeout_s
        self.deadline = math.inf
        self.stalled_since = math.inf
        self._head = 0  # bytes of the head or of the trailers that are being parsed
        self._fields = 0  # headers in them
        self._unparsed = 0  # bytes received since the parser last completed a head, a body part or a message
        self._refusal = HTTPStatus.BAD_REQUEST
        self._address = ""
        self._proxied = False  # whether the peer is a trusted proxy
        self._pipelined = False
        self._discarding = False  # whether further input is discarded
        self._refused = False  # whether a refusal was written, after which nothing more is

    # --- the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection. One above a limit is refused before a byte of it is read."""
        super().connection_made(transport)
        self.deadline = self.loop.time() + self._head_timeout_s
        self._address = self.client[0] if self.client else ""
        self._proxied = self._limits.is_proxy(self._address)
        refusal = self._limits.add(self, self._address)
        if refusal is not None:
            self._answer(refusal)
            transport.close()

    def expire(self) -> None:
        """See `connections.Connection`: the head is late, or the client has had time to read the refusal."""
        if self._refused:
            self.transport.close()
            return
        metrics.TCP_REFUSED.labels("head_timeout").inc()
        if self._unparsed:
            self._answer(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    # --- from the socket --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse. `_unparsed` limits what the parser buffers: endless heads, trailers and chunk extensions."""
        self._unparsed += len(data)
        if self._discarding:
            if self._refused and self._unparsed > LINGER_BYTES:
                self.transport.close()
            return
        super().data_received(data)
        if self._discarding or self.transport.is_closing():
            return
        if self._unparsed > MAX_HEAD:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.send_400_response("")
        elif self._is_idle() and self.deadline == math.inf:
            self.deadline = self.loop.time() + self._head_timeout_s

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_message_begin(self) -> None:
        """Parser callback."""
        self._head = self._fields = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Parser callback."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback, for trailers too."""
        self._fields += 1
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD or self._fields > MAX_HEADERS:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _Refused

    def on_headers_complete(self) -> None:
        """Parser callback. A request before the previous one is answered is refused (RFC 9112, 9.3.2)."""
        self._unparsed = 0
        if not self._is_idle():
            self._pipelined = True
            raise _Refused
        if sum(name == b"host" for name, _ in self.headers) > 1:  # RFC 9112, 3.2
            raise _Refused
        if self._proxied:
            self._count_forwarded()
        self.deadline = math.inf
        super().on_headers_complete()

    def _count_forwarded(self) -> None:
        """Count the connection for the proxy's client."""
        forwarded = b",".join(value for name, value in self.headers if name == b"x-forwarded-for")
        refusal = self._limits.forwarded(self, self._address, forwarded.decode("latin-1"))
        if refusal is not None:
            self._refusal = refusal
            raise _Refused

    def on_body(self, body: bytes) -> None:
        """Parser callback."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Parser callback."""
        self._unparsed = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to a `WebSocketProtocol`."""
        if not self.url.isascii():
            self._answer(HTTPStatus.BAD_REQUEST)
            return
        self._discarding = True
        self.connections.discard(self)
        protocol = WebSocketProtocol(self._config, self.server_state, self.app_state)
        self._limits.hand_over(self, protocol)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        lines = [b"%s %s HTTP/1.1\r\n" % (self.parser.get_method(), self.url)]
        lines += [b"%s: %s\r\n" % header for header in self.headers]
        protocol.data_received(b"".join([*lines, b"\r\n"]))

    # --- refusals ---------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Refuse input that can't be parsed or exceeds a limit, unless an answer has begun already."""
        if self._refusal not in _RETRYABLE:  # those were counted by `Connections`
            metrics.TCP_REFUSED.labels("malformed").inc()
        self._discarding = True
        if self._is_idle():
            self._answer(self._refusal)
        elif self._pipelined:
            self.cycle.keep_alive = False  # close when the current request is answered
        else:
            started, self.cycle.disconnected = self.cycle.response_started, True
            self.cycle.waiting_for_100_continue = False  # else uvicorn writes it after the answer
            self.cycle.message_event.set()
            if started:
                self.transport.close()
            else:
                self._answer(self._refusal)

    def _answer(self, status: HTTPStatus) -> None:
        """Answer without the app, then close after `LINGER_S`.

        Closing at once, with unread input, would reset the connection, and the client would lose the answer.
        """
        self._discarding = self._refused = True
        self._unparsed = 0
        self.deadline = self.loop.time() + LINGER_S
        body = f"{_TEXTS.get(status, status.phrase)}\n".encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        retry = "retry-after: 5\r\n" if status in _RETRYABLE else ""
        end = f"content-length: {len(body)}\r\n{retry}connection: close\r\n\r\n"
        self.transport.write(head.encode() + end.encode() + body)
        self.transport.write_eof()
