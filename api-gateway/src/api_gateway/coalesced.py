"""One look at something slow for all who ask at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from parlando.errors import UnavailableError

T = TypeVar("T")


class CoalescedRead(Generic[T]):
    """What `look` returns or raises is good for `fresh_s` seconds; it may take `within_s` seconds.

    Callers that come while it looks wait for the same answer, so that a Redis that is away costs all of them
    together `within_s`, not each of them in turn.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], *, fresh_s: float, within_s: float) -> None:
        self._look = look
        self._fresh_s = fresh_s
        self._within_s = within_s
        self._looking: asyncio.Task[T] | None = None
        self._ended_at = 0.0

    async def get(self) -> T:
        """The answer. Raises `UnavailableError`, also when it takes too long, and what `look` raises."""
        looking = self._looking
        if looking is None or (looking.done() and time.monotonic() - self._ended_at >= self._fresh_s):
            looking = self._looking = asyncio.create_task(self._bounded())
            looking.add_done_callback(self._ended)
        return await asyncio.shield(looking)

    async def _bounded(self) -> T:
        try:
            async with asyncio.timeout(self._within_s):
                return await self._look()
        except TimeoutError as error:
            raise UnavailableError(f"Redis gave no answer within {self._within_s:g} s") from error

    def _ended(self, looking: "asyncio.Task[T]") -> None:
        self._ended_at = time.monotonic()
        if not looking.cancelled():
            looking.exception()  # it is raised to those who wait, if there are any

    async def get_retrying(self, *, within_s: float, pause_s: float) -> T:
        """The answer; while there is none, look again for `within_s` seconds. Raises as `get`."""
        until = time.monotonic() + within_s
        while True:
            try:
                return await self.get()
            except UnavailableError:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(pause_s)
