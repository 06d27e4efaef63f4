"""Ends HTTP requests, such as event streams and uploads, when the key that they use becomes invalid."""

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_gateway.dependencies import WATCH
from api_gateway.presenters.problem import on_parlando_error
from parlando.errors import KeyEndedError
from parlando.store.key_ring import Watch

REVOKED: Final = b'event: revoked\ndata: {"type":"revoked"}\n\n'
"""The last server-sent event of a stream whose reader loses its permission."""


class EndsWithKey:
    """ASGI middleware: gives each request a `Watch`, which the authentication has follow the caller's key.

    When it ends the request, the answer is an error if none has begun, and the event `revoked` in a stream of
    events; another answer is broken off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun: Message = {}

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.update(message)
            await send(message)

        watch = Watch()
        scope.setdefault("state", {})[WATCH] = watch
        try:
            with watch:
                await self._app(scope, receive, noting)
        except KeyEndedError as error:
            if not begun:
                await (await on_parlando_error(Request(scope), error))(scope, receive, send)
            elif any(value.startswith(b"text/event-stream") for _, value in begun["headers"]):
                await send({"type": "http.response.body", "body": REVOKED, "more_body": False})
