"""A live session for synchronous code: its event loop runs in a separate thread."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from parlando.client.session import ClientSession, Event, connect


def live(url: str, chunks: Iterable[bytes], *, api_key: str | None, **options: Any) -> Iterator[Event]:
    """Send the audio of `chunks` and yield events as they arrive. See `Parlando.live`."""
    events: queue.Queue[Event | BaseException | None] = queue.Queue()
    loop = asyncio.new_event_loop()
    task = loop.create_task(_run_session(url, chunks, events.put, api_key, options))

    def run() -> None:
        try:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
            events.put(None)
        except BaseExceptionGroup as group:
            events.put(group.exceptions[0])
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="parlando-live", daemon=True)
    thread.start()
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:  # also when the caller stops iterating
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(task.cancel)


async def _run_session(
    url: str,
    chunks: Iterable[bytes],
    put: Callable[[Event], None],
    api_key: str | None,
    options: dict[str, Any],
) -> None:
    async with asyncio.TaskGroup() as group, connect(url, api_key=api_key, **options) as session:
        group.create_task(_send(session, chunks))
        async for event in session:
            put(event)


async def _send(session: ClientSession, chunks: Iterable[bytes]) -> None:
    source = iter(chunks)
    while (chunk := await asyncio.to_thread(next, source, None)) is not None:
        await session.send(chunk)
    await session.end()
