"""The messages of one connection that wait for the app."""

import asyncio

from uvicorn._types import ASGIReceiveEvent


class Messages(asyncio.Queue[ASGIReceiveEvent]):
    """A queue without limit for one reader, at half the cost of asyncio's per message."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._own_loop = loop
        self._waiter: asyncio.Future[None] | None = None

    def put_nowait(self, item: ASGIReceiveEvent) -> None:
        """Add a message."""
        self._queue.append(item)  # type: ignore[attr-defined]  # asyncio's deque
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def get(self) -> ASGIReceiveEvent:
        """The oldest message. One task at a time may wait for it."""
        while not self._queue:  # type: ignore[attr-defined]
            self._waiter = self._own_loop.create_future()
            await self._waiter
        message: ASGIReceiveEvent = self._queue.popleft()  # type: ignore[attr-defined]
        return message
