"""Whether one more session fits: the workers' capacity against the sessions that are open."""

import asyncio
import time
from typing import Any, Final

from parlando.errors import AtCapacityError
from parlando.redislog.history import History

FRESH_S: Final = 0.5  # how long a look at the workers is good for


class Admission:
    """Looks at the workers' heartbeats, not more often than needed."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._lock = asyncio.Lock()
        self._looked = -FRESH_S
        self._workers: list[dict[str, Any]] = []

    async def workers(self) -> list[dict[str, Any]]:
        """The reports of the transcribers that live."""
        async with self._lock:
            if time.monotonic() - self._looked >= FRESH_S:
                found = await self._history.workers()
                self._workers = [worker for worker in found if worker["kind"] == "transcriber"]
                self._looked = time.monotonic()
            return self._workers

    async def capacity(self) -> int:
        """How many sessions the workers take together.

        Raises
        ------
        AtCapacityError
            if there's no worker at all.

        """
        workers = await self.workers()
        if not workers:
            raise AtCapacityError("No transcriber is running; start one, or try again in a few seconds")
        return sum(int(worker["capacity"]) for worker in workers)
