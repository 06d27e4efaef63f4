"""A pool of work from a queue: takes entries, processes them, and renews their leases meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from parlando.errors import UnavailableError
from parlando.store.connection import BROKEN
from parlando.store.work_queue import Delivered, WorkQueue, group_is_missing
from parlando.tasks import end

BLOCK_MS: Final = 2000
RETRY_S: Final = 0.5  # pause before a retry while Redis is unreachable

log = structlog.get_logger(part="queue")


class QueuePool:
    """Up to `concurrency` entries of a queue at a time; see `worker.service.Pool`.

    `process` returns whether the entry is done: it is then removed. Otherwise, and after an exception, it is
    processed again after its lease, by any worker. `lease_s`: that of `queue`.
    """

    def __init__(
        self,
        name: str,
        queue: WorkQueue,
        process: Callable[[Delivered], Awaitable[bool]],
        *,
        concurrency: int,
        lease_s: float,
    ) -> None:
        self._name = name
        self._queue = queue
        self._process = process
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._running: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    @property
    def count(self) -> int:
        """Number of entries being processed."""
        return len(self._running)

    @property
    def _free(self) -> int:
        return self._concurrency - len(self._running)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """The loops that take entries and renew their leases."""
        return [self._repeat(step) for step in (self._take, self._take_over, self._renew)]

    async def hand_back(self) -> None:
        """Interrupt what is being processed, for other workers."""
        entries = list(self._running)
        await end(*self._running.values())
        await self._queue.release(entries)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except ResponseError as error:
                if group_is_missing(error):
                    await self._ensure_group()
                else:
                    log.error("queue.refused", queue=self._name, error=str(error))
                    await asyncio.sleep(RETRY_S)
            except (*BROKEN, UnavailableError) as error:
                log.warning("redis.unreachable", queue=self._name, error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("queue.failed", queue=self._name)
                await asyncio.sleep(RETRY_S)

    async def _ensure_group(self) -> None:
        try:
            await self._queue.ensure_groups()
        except (*BROKEN, UnavailableError, ResponseError) as error:
            log.warning("redis.unreachable", queue=self._name, error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _take(self) -> None:
        if self._free <= 0:
            self._ended.clear()
            await self._ended.wait()
            return
        for delivered in await self._queue.take_new(block_ms=BLOCK_MS, limit=self._free):
            self._start(delivered)

    async def _take_over(self) -> None:
        await asyncio.sleep(self._lease_s / 3 * random.uniform(0.8, 1.2))
        for delivered in await self._queue.take_over(self._free, list(self._running)):
            self._start(delivered)

    async def _renew(self) -> None:
        await asyncio.sleep(self._lease_s / 4)
        await self._queue.renew(list(self._running))

    def _start(self, delivered: Delivered) -> None:
        place = (delivered.partition, delivered.entry)
        self._running[place] = task = asyncio.create_task(self._run(delivered))

        def forget(_: "asyncio.Task[None]") -> None:
            self._running.pop(place, None)
            self._ended.set()

        task.add_done_callback(forget)

    async def _run(self, delivered: Delivered) -> None:
        try:
            if await self._process(delivered):
                await self._queue.remove(delivered.partition, delivered.entry)
        except (*BROKEN, UnavailableError) as error:
            log.warning("redis.unreachable", queue=self._name, error=str(error))
        except Exception:
            log.exception("entry.failed", queue=self._name, entry=delivered.entry, attempt=delivered.attempt)
