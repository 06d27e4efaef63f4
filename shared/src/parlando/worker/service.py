"""What every worker process is: it works until it is told to drain, reports that it lives, and hands back
what it has.

A worker adds what it works on; see `transcriber.worker` for an example.
"""

import asyncio
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, Final, Protocol

import structlog
import uvloop
from prometheus_client import start_http_server

from parlando import gc_tuning, logs
from parlando.errors import ParlandoError, UnavailableError
from parlando.ids import new_worker_id
from parlando.settings import ServiceSettings
from parlando.store.connection import BROKEN, connect
from parlando.store.heartbeat import beat, sign_off
from parlando.store.schema import SchemaError, check_neighbours, check_schema
from parlando.tasks import end

BEAT_EVERY_S: Final = 1.0

log = structlog.get_logger(part="worker")


class Pool(Protocol):
    """Claimed work; see `leases.LeasePool`."""

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What must run for work to be claimed and kept."""
        ...

    async def hand_back(self) -> None:
        """Queue all work anew, for other workers to take at once."""
        ...


class WorkerService(ABC):
    """One worker process. `drain_s`: seconds for handing work back when it is told to drain."""

    kind: ClassVar[str]
    """What its reports say it is."""

    def __init__(self, settings: ServiceSettings, *, drain_s: float) -> None:
        self.id = new_worker_id(self.kind)
        self.redis = connect(settings.redis_url)
        self.connected = False
        """Whether Redis answered the last heartbeat."""
        self._drain_s = drain_s
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Stop claiming, hand everything back and let `run` return."""
        self._draining.set()

    async def run(self) -> None:
        """Work until `drain` is called. Raises `SchemaError` if Redis is another version's."""
        await self._check_schema()
        await self.prepare()
        async with asyncio.TaskGroup() as group:
            serving = [group.create_task(loop) for loop in self.services()]
            loops = [loop for pool in self.pools() for loop in pool.loops()]
            tasks = [group.create_task(loop) for loop in [*loops, *self.loops(), self._beat_loop()]]
            log.info("worker.ready", worker=self.id)
            await self._draining.wait()
            log.info("worker.draining", worker=self.id)
            await end(*tasks)
            await self._hand_back()
            await end(*serving)
        await self.close()
        await self.redis.aclose()

    # --- what a worker adds -------------------------------------------------------------------

    async def prepare(self) -> None:
        """Before anything runs."""
        return

    @abstractmethod
    def pools(self) -> Sequence[Pool]:
        """The work that it claims."""

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What else runs until it drains."""
        return ()

    def services(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What the work needs, and so goes on until everything is handed back."""
        return ()

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """What it tells of itself with every heartbeat, besides `kind` and `worker`."""

    async def after_beat(self) -> None:
        """Done behind every heartbeat. May raise what Redis' absence raises."""
        return

    async def close(self) -> None:
        """Behind everything."""
        return

    async def _check_schema(self) -> None:
        try:
            await check_schema(self.redis)
            await check_neighbours(self.redis)
        except UnavailableError as error:  # every heartbeat checks it too
            log.warning("redis.away", error=error.message)

    # --- heartbeats, and the end --------------------------------------------------------------

    async def _beat_loop(self) -> None:
        while True:
            try:
                await beat(self.redis, self.id, {"kind": self.kind, **self.report()})
                await self.after_beat()
                self.connected = True
            except (*BROKEN, UnavailableError) as error:
                self.connected = False
                log.warning("redis.away", error=str(error))
            except SchemaError:
                raise
            except Exception:
                log.exception("report.broke")
            await asyncio.sleep(BEAT_EVERY_S)

    async def _hand_back(self) -> None:
        """Give all work back: what is done is in Redis, another worker does the rest."""
        deadline = time.monotonic() + self._drain_s
        try:
            async with asyncio.timeout(self._drain_s):
                for pool in self.pools():
                    await pool.hand_back()
                await self.after_beat()
                await sign_off(self.redis, self.id)
        except (TimeoutError, ParlandoError, *BROKEN) as error:
            left = deadline - time.monotonic()
            log.warning("drain.incomplete", error=str(error), seconds_left=round(left, 1))


def run_worker(
    name: str,
    settings: ServiceSettings,
    make: Callable[[], WorkerService],
    *,
    metrics_port: int = 0,
) -> int:
    """The `main` of a worker: run what `make` makes until SIGTERM or SIGINT.

    Returns 0 after a drain, 1 if it can't be made. `metrics_port` serves `/metrics`, 0 for none.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logs.configure(name, level=settings.log_level, form=settings.log_format)
    if metrics_port:
        start_http_server(metrics_port)
    try:
        uvloop.run(_until_told(make))
    except ParlandoError as error:
        log.error("worker.failed", code=error.code, error=error.message)
        return 1
    except ExceptionGroup as group:
        known = group.subgroup(ParlandoError)
        if known is None:
            raise
        log.error("worker.failed", error="; ".join(map(str, known.exceptions)))
        return 1
    return 0


async def _until_told(make: Callable[[], WorkerService]) -> None:
    worker = make()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.drain)
    gc_tuning.freeze()
    await worker.run()
