"""Starlette's WebSocket as a live connection wants it."""

import asyncio

from fastapi import WebSocket, WebSocketDisconnect

from api_gateway.live import ClientGone


class Socket:
    """See `live.Socket`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._sending = asyncio.Lock()

    async def receive(self) -> str | bytes:
        """The next message."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ClientGone
        data: str | bytes | None = message.get("text")
        return data if data is not None else message["bytes"]

    async def send(self, message: str) -> None:
        """Send a text message."""
        async with self._sending:
            try:
                await self._websocket.send_text(message)
            except (WebSocketDisconnect, RuntimeError) as error:  # it has been closed under us
                raise ClientGone from error


async def close(websocket: WebSocket, code: int, reason: str = "") -> None:
    """Close it. Raises `ClientGone` if the client was faster."""
    try:
        await websocket.close(code, reason)
    except RuntimeError as error:
        raise ClientGone from error
