"""Starlette's WebSocket as a live connection wants it, and how each of them ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from fastapi import WebSocket, WebSocketDisconnect

from api_gateway import metrics
from api_gateway.live.connection import ClientGone, Finished
from parlando.errors import ParlandoError

log = structlog.get_logger(part="live")


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
    except (WebSocketDisconnect, RuntimeError) as error:
        raise ClientGone from error


@asynccontextmanager
async def connection(
    websocket: WebSocket, refuse: Callable[[ParlandoError], Awaitable[None]]
) -> AsyncIterator[None]:
    """Count an accepted socket, and close it however the block ends: no client is left without a close code.

    `refuse` says an error and closes; an error that isn't ours is logged and told as `internal`.
    """
    metrics.CONNECTIONS.inc()
    try:
        try:
            yield
        except Finished as finished:
            await close(websocket, finished.code)
        except ParlandoError as error:
            metrics.REFUSED.labels(error.code).inc()
            await refuse(error)
        except ClientGone:
            raise
        except Exception:
            log.exception("connection.failed")
            metrics.REFUSED.labels("internal").inc()
            await refuse(ParlandoError("Something went wrong here; the log says what"))
    except ClientGone:
        return
    finally:
        metrics.CONNECTIONS.dec()
