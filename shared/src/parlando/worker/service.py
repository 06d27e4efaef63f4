"""Base of a worker process: runs until it is drained, sends heartbeats, and hands its work back at the end.

A subclass adds its pools of work; see `transcriber.worker` for an example.
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

from parlando import gc_tuning, logs, tracing
from parlando.errors import ParlandoError, UnavailableError
from parlando.ids import new_worker_id
from parlando.settings import ServiceSettings
from parlando.store.connection import BROKEN, connect
from parlando.store.heartbeat import beat, delete_heartbeat
from parlando.store.presence import Presence
from parlando.store.schema import SchemaError, check_live_workers, check_schema
from parlando.tasks import end

BEAT_EVERY_S: Final = 1.0

log = structlog.get_logger(part="worker")


class Pool(Protocol):
    """A pool of claimed work; see `leases.LeasePool`."""

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """The loops that claim work and renew its leases."""
        ...

    async def hand_back(self) -> None:
        """Queue all claimed work again, so that other workers can claim it at once."""
        ...


class WorkerService(ABC):
    """One worker process. `drain_s`: maximum seconds for handing work back."""

    kind: ClassVar[str]
    """The kind of worker in its heartbeats."""

    def __init__(self, settings: ServiceSettings, *, drain_s: float) -> None:
        self.id = new_worker_id(self.kind)
        self.redis = connect(settings.redis_url)
        self.presence = Presence(self.redis, self.id)
        """The workers that are connected to Redis."""
        self.connected = False
        """Whether Redis answered the last heartbeat."""
        self._drain_s = drain_s
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Stop claiming work, hand all of it back and let `run` return."""
        self._draining.set()

    async def run(self) -> None:
        """Work until `drain` is called. Raises `SchemaError` if Redis holds data of another schema."""
        await self._check_schema()
        await self.prepare()
        async with asyncio.TaskGroup() as group:
            serving = [group.create_task(loop) for loop in (self.presence.run(), *self.services())]
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

    # --- hooks for subclasses -----------------------------------------------------------------

    async def prepare(self) -> None:
        """Called once before the loops start."""
        return

    @abstractmethod
    def pools(self) -> Sequence[Pool]:
        """The pools of work that the worker claims."""

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Further loops that run until draining begins."""
        return ()

    def services(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Loops that the work depends on; they run until all work is handed back."""
        return ()

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Fields of the heartbeat besides `kind` and `worker`."""

    async def after_beat(self) -> None:
        """Called after every heartbeat. May raise the exceptions of an unreachable Redis."""
        return

    async def close(self) -> None:
        """Called once at the end."""
        return

    async def _check_schema(self) -> None:
        try:
            await check_schema(self.redis)
            await check_live_workers(self.redis)
        except UnavailableError as error:  # every heartbeat repeats the check
            log.warning("redis.unreachable", error=error.message)

    # --- heartbeats, and the end --------------------------------------------------------------

    async def _beat_loop(self) -> None:
        while True:
            try:
                await beat(self.redis, self.id, {"kind": self.kind, "presence": True, **self.report()})
                await self.after_beat()
                self.connected = True
            except (*BROKEN, UnavailableError) as error:
                self.connected = False
                log.warning("redis.unreachable", error=str(error))
            except SchemaError:
                raise
            except Exception:
                log.exception("report.failed")
            await asyncio.sleep(BEAT_EVERY_S)

    async def _hand_back(self) -> None:
        """Hand all work back. Results so far are in Redis; other workers continue from there."""
        deadline = time.monotonic() + self._drain_s
        try:
            async with asyncio.timeout(self._drain_s):
                for pool in self.pools():
                    await pool.hand_back()
                await self.after_beat()
                await delete_heartbeat(self.redis, self.id)
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
    """The `main` of a worker process: run the service created by `make` until SIGTERM or SIGINT.

    Returns 0 after draining, 1 after an error. `metrics_port`: port of `/metrics`, 0 for none.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logs.configure(name, level=settings.log_level, form=settings.log_format)
    tracing.configure(
        name, endpoint=settings.otel_exporter_otlp_endpoint, share=settings.otel_traces_sampler_arg
    )
    try:
        if metrics_port:
            start_http_server(metrics_port)
    except OSError as error:
        do = "give each process of this machine its own port (make run does so)"
        log.error("metrics.port_taken", port=metrics_port, error=str(error), do=do)
        return 1
    try:
        uvloop.run(_run_until_signal(make))
    except Exception as error:
        log_failure(error)
        return 1
    return 0


def log_failure(error: BaseException) -> None:
    """Log why a worker ends: a `ParlandoError` as one line, other exceptions with their traceback."""
    known = error.subgroup(ParlandoError) if isinstance(error, BaseExceptionGroup) else None
    if isinstance(error, ParlandoError):
        log.error("worker.failed", code=error.code, error=error.message)
    elif known is not None:
        log.error("worker.failed", error="; ".join(map(str, known.exceptions)))
    else:
        log.critical("worker.failed", exc_info=error)


async def _run_until_signal(make: Callable[[], WorkerService]) -> None:
    worker = make()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.drain)
    gc_tuning.freeze()
    await worker.run()
