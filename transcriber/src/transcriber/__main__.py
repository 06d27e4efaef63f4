"""`python -m transcriber`: one worker process."""

import asyncio
import os
import signal
import sys

import structlog
import uvloop
from prometheus_client import start_http_server

from parlando import gc_tuning as heap
from parlando import logs, vad
from parlando.errors import ParlandoError
from transcriber.engines.registry import load
from transcriber.settings import TranscriberSettings
from transcriber.worker import Worker

log = structlog.get_logger(part="main")


async def _serve(settings: TranscriberSettings) -> None:
    engine, why = load(settings)
    detector = vad.load(settings.vad)
    log.info(
        "engine.chosen",
        engine=engine.info.name,
        model=engine.info.model,
        why=why,
        vad=detector.name,
        vad_why=detector.why,
    )
    worker = Worker(settings, engine, why, detector)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.drain)
    heap.freeze()
    await worker.run()


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean drain, 1 if the engine can't be loaded."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = TranscriberSettings()
    logs.configure("transcriber", level=settings.log_level, form=settings.log_format)
    if settings.metrics_port:
        start_http_server(settings.metrics_port)
    try:
        uvloop.run(_serve(settings))
    except ParlandoError as error:
        log.error("worker.failed", code=error.code, error=error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
