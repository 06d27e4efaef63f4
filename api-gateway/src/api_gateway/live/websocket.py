"""WebSockets as transports of live protocols, and the routes of those protocols."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from starlette.responses import Response

from api_gateway.auth import handshake_of
from api_gateway.dependencies import services
from api_gateway.doors.base import Denial, Message
from api_gateway.doors.table import WebSocketDoor
from api_gateway.live.serve import serve
from api_gateway.live.transport import ClientDisconnected


class WebSocketTransport:
    """See `transport.Transport`."""

    def __init__(self, websocket: WebSocket, subprotocol: str | None) -> None:
        self._websocket = websocket
        self._subprotocol = subprotocol
        self._sending = asyncio.Lock()

    async def accept(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Accept the handshake."""
        await self._websocket.accept(
            subprotocol=self._subprotocol,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        )

    async def deny(self, denial: Denial) -> None:
        """Refuse the handshake with an HTTP response."""
        response = Response(denial.body, denial.status, dict(denial.headers), denial.content_type)
        try:
            await self._websocket.send_denial_response(response)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ClientDisconnected from error

    async def receive(self) -> Message:
        """See `Transport`."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ClientDisconnected
        data: Message | None = message.get("text")
        return data if data is not None else message["bytes"]

    async def send(self, message: Message) -> None:
        """See `Transport`."""
        async with self._sending:
            try:
                if isinstance(message, str):
                    await self._websocket.send_text(message)
                else:
                    await self._websocket.send_bytes(message)
            except (WebSocketDisconnect, RuntimeError) as error:  # closed meanwhile
                raise ClientDisconnected from error

    async def close(self, code: int, reason: str = "") -> None:
        """See `Transport`."""
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ClientDisconnected from error


def add_routes(app: FastAPI, doors: Iterable[WebSocketDoor]) -> None:
    """Serve each door at its paths."""
    for door in doors:
        for path in door.paths:
            app.add_api_websocket_route(path, _endpoint(door))


def _endpoint(door: WebSocketDoor) -> Callable[[WebSocket], Awaitable[None]]:
    async def endpoint(websocket: WebSocket) -> None:
        protocol = door.protocol(handshake_of(websocket))
        transport = WebSocketTransport(websocket, protocol.selected_subprotocol)
        await serve(transport, protocol, services(websocket), door=door.name, answer=transport)

    return endpoint
