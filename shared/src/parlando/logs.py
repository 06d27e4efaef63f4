"""Structured logs: one event per line, JSON except on a terminal. Audio and transcripts are never logged."""

import logging
import sys
from collections.abc import Sequence
from typing import Any

import structlog
from structlog.typing import Processor


def configure(
    service: str, *, level: str = "INFO", form: str = "auto", processors: Sequence[Processor] = ()
) -> None:
    """Set structlog up for a service. `form` is `auto` (console on a terminal), `json` or `console`.

    `processors`: further ones, which see each event before it is written.
    """
    pretty = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *processors,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def get(name: str) -> Any:
    """A logger with `part` bound to the last component of the module name."""
    return structlog.get_logger(part=name.rpartition(".")[2])
