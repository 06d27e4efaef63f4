"""Ending tasks."""

import asyncio
from typing import Any, Final

AGAIN_S: Final = 0.2


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended.

    One cancellation isn't always enough: a Redis call in flight may take it for a broken connection,
    and whoever retries then goes on.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_S)
