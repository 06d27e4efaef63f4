"""Makes calls of one kind, which many tasks make at the same time, in few round trips to Redis.

A call of redis-py costs more than all else that a gateway does with a frame of audio; one call for many of
them costs a small part of that. While one is on its way, the calls that arrive wait for the next one.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Call = tuple[list[str], list[Any]]
"""Keys and arguments of a call, for example of a script."""

MOST_CALLS: Final = 128
MOST_BYTES: Final = 1 << 20
"""Limits of a batch: a larger one would delay the answers to its first calls, and other clients of Redis."""


@dataclass(slots=True)
class _Waiting:
    call: Call
    size: int
    answer: asyncio.Future[Any]


class Batches:
    """`run_all` runs calls in one round trip: it returns each one's answer, or the exception that it raised.

    What `run_all` itself raises is raised by all calls of the batch.
    """

    def __init__(self, run_all: Callable[[Sequence[Call]], Awaitable[Sequence[Any]]]) -> None:
        self._run_all = run_all
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    async def run(self, keys: list[str], args: list[Any]) -> Any:
        """The call's answer. Raises what it raises. A cancelled call may have been executed."""
        size = sum(len(each) for each in args if isinstance(each, bytes))
        waiting = _Waiting((keys, args), size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None:
            self._task = asyncio.create_task(self._run_waiting())
        return await waiting.answer

    async def _run_waiting(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = self._next()
                if batch:
                    await self._answer(batch)
        finally:  # the loop ends: nothing may wait for ever
            self._task = None
            for each in [*batch, *self._waiting]:
                each.answer.cancel()
            self._waiting.clear()

    def _next(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < MOST_CALLS and size < MOST_BYTES:
            each = self._waiting.popleft()
            if not each.answer.done():  # it was not cancelled
                batch.append(each)
                size += each.size
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._run_all([each.call for each in batch])
        except Exception as error:
            answers = [error] * len(batch)
        for each, answer in zip(batch, answers, strict=True):
            if each.answer.done():
                continue
            if isinstance(answer, Exception):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)
