"""WebSockets as transports of live protocols, and the routes of those protocols."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from api_gateway.auth import handshake_of
from api_gateway.dependencies import services
from api_gateway.doors.base import Message
from api_gateway.doors.table import WebSocketDoor
from api_gateway.live.serve import serve
from api_gateway.live.transport import ClientDisconnected


class WebSocketTransport:
    """See `transport.Transport`."""

    def __init__(self, websocket: WebSocket, subprotocol: str | None) -> None:
        self._websocket = websocket
        self._subprotocol = subprotocol
        self._sending = asyncio.Lock()

    async def accept(self) -> None:
        """Answer the handshake."""
        await self._websocket.accept(subprotocol=self._subprotocol)

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
        """See `Transport`. Before `accept` this refuses the handshake."""
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
        handshake = handshake_of(websocket)
        chosen = door.protocol.subprotocol if door.protocol.subprotocol in handshake.subprotocols else None
        transport = WebSocketTransport(websocket, chosen)
        await serve(transport, door.protocol(handshake), services(websocket), accept=transport.accept)

    return endpoint
