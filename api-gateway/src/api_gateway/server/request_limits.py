"""Limits of request bodies: their size, and the time without a byte. An unread body ends the connection."""

import asyncio
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_gateway.server.header_values import whole_number
from parlando.errors import ParlandoError, TooBigError

MAX_BODY: Final = 1 << 16  # bytes of a body that isn't an upload
LINGER_S: Final = 5.0  # how long an unread body is discarded, so that the client can read the answer
LINGER_SILENT_S: Final = 1.0  # without a byte, after which discarding ends
LINGER_BYTES: Final = 16 << 20  # most bytes discarded
_KEY: Final = "parlando.body"


class SlowBodyError(ParlandoError):
    """Raised when no byte of a body arrives for the time-out."""

    code = "timeout"


def allow_body(request: Request, limit: int) -> None:
    """Allow a body of up to `limit` bytes. Call it after the key has been checked.

    Raises
    ------
    TooBigError
        if the declared length is longer.

    """
    body: Body = request.scope[_KEY]
    body.limit = limit
    body.check_declared()


class RequestLimits:
    """ASGI middleware. If a route doesn't read the whole body, the connection is closed after the answer.

    `silent_s`: seconds without a byte after which a body times out.
    """

    def __init__(self, app: ASGIApp, *, silent_s: float) -> None:
        self._app = app
        self._silent_s = silent_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = Body(scope, receive, silent_s=self._silent_s)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not body.complete:
                    MutableHeaders(scope=message)["Connection"] = "close"
            elif not message.get("more_body", False) and not body.complete:
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, body.receive, answer)


class Body:
    """The state of one request's body; kept in the scope for `allow_body`.

    Until `limit` is set no byte of the body is passed on, and `receive` only detects a disconnect.
    """

    def __init__(self, scope: Scope, receive: Receive, *, silent_s: float) -> None:
        scope[_KEY] = self
        headers = Headers(scope=scope)
        self._receive = receive
        self._silent_s = silent_s
        self._size = 0
        self._declared = whole_number(headers.get("content-length", "0"))
        self.limit: int | None = None
        self.complete = self._declared == 0 and "transfer-encoding" not in headers

    def check_declared(self) -> None:
        """Raise `TooBigError` if the declared length exceeds the limit, before a byte is read."""
        if self.limit is not None and (self._declared is None or self._declared > self.limit):
            raise TooBigError(f"Expected a body of at most {_size(self.limit)}")

    async def receive(self) -> Message:
        """ASGI's `receive`. Raises `TooBigError`, `SlowBodyError`."""
        if self.complete:
            return await self._next()
        if self.limit is None:
            message = await self._next()
            return {**message, "body": b""} if message["type"] == "http.request" else message
        try:
            async with asyncio.timeout(self._silent_s):
                message = await self._next()
        except TimeoutError as error:
            raise SlowBodyError(
                f"Expected more of the body, but received nothing for {self._silent_s:g} s"
            ) from error
        if self._size > self.limit:
            raise TooBigError(f"Expected a body of at most {_size(self.limit)}")
        return message

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Discard the rest of the body for a while.

        Closing a socket with unread bytes resets the connection, and the client may lose the answer.
        """
        limit = self._size + LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_S):
                while not self.complete and self._size < limit:
                    async with asyncio.timeout(LINGER_SILENT_S):
                        message = await self._next()
                    if message["type"] == "http.disconnect":
                        return
        except TimeoutError:
            return


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count >> 10} KB"
