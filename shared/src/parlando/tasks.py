"""Ending asyncio tasks, and clean-up that a cancellation must not interrupt."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger(part="tasks")


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended. Does not raise their exceptions."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def finish(cleanup: Coroutine[Any, Any, None], *, within_s: float) -> None:
    """Run `cleanup` to its end even if the caller is cancelled, for at most `within_s` seconds.

    A cancellation of the caller is raised after the clean-up has ended. A clean-up that exceeds `within_s` is
    cancelled and logged.

    Raises
    ------
    Exception
        what `cleanup` raises, unless the caller was cancelled.

    """
    task = asyncio.create_task(_bounded(cleanup, within_s))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled() and (failed := task.exception()) is not None:
            log.warning("cleanup.failed", error=str(failed))
        raise cancelled
    task.result()


async def _bounded(cleanup: Coroutine[Any, Any, None], within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await cleanup
    except TimeoutError:
        log.warning("cleanup.timed_out", after_s=within_s)
