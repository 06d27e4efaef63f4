"""A slow read that concurrent callers share."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from parlando.errors import UnavailableError

T = TypeVar("T")


class CoalescedRead(Generic[T]):
    """Caches what `read` returns or raises for `fresh_s` seconds, and limits it to `within_s` seconds.

    Callers during a read wait for its result. So an unreachable Redis delays all of them together by
    `within_s`, not one after the other.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], *, fresh_s: float, within_s: float) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._within_s = within_s
        self._task: asyncio.Task[T] | None = None
        self._ended_at = 0.0

    async def get(self) -> T:
        """The result. Raises `UnavailableError` (also on time-out), and what `read` raises."""
        task = self._task
        if task is None or (task.done() and time.monotonic() - self._ended_at >= self._fresh_s):
            task = self._task = asyncio.create_task(self._bounded())
            task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _bounded(self) -> T:
        try:
            async with asyncio.timeout(self._within_s):
                return await self._read()
        except TimeoutError as error:
            raise UnavailableError(f"Redis gave no answer within {self._within_s:g} s") from error

    def _ended(self, task: "asyncio.Task[T]") -> None:
        self._ended_at = time.monotonic()
        if not task.cancelled():
            task.exception()  # callers that wait get it; without any, asyncio would log it as never retrieved

    async def get_retrying(self, *, within_s: float, pause_s: float) -> T:
        """The result; on `UnavailableError`, read again for `within_s` seconds. Raises as `get`."""
        until = time.monotonic() + within_s
        while True:
            try:
                return await self.get()
            except UnavailableError:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(pause_s)
