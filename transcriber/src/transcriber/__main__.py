"""`python -m transcriber`: one worker process."""

import sys

import structlog

from parlando import vad
from parlando.worker.service import run_worker
from transcriber.engines.registry import load
from transcriber.settings import TranscriberSettings
from transcriber.worker import Worker

log = structlog.get_logger(part="main")


def main() -> int:
    """Run until SIGTERM or SIGINT. The exit status: 0 after a drain, 1 if the engine can't be loaded."""
    settings = TranscriberSettings()

    def make() -> Worker:
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
        return Worker(settings, engine, why, detector)

    return run_worker("transcriber", settings, make, metrics_port=settings.metrics_port)


if __name__ == "__main__":
    sys.exit(main())
