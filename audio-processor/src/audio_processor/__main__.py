"""`python -m audio_processor`: one process of the FFmpeg service."""

import signal
import socket
import sys
from contextlib import suppress

import structlog
import uvicorn

from audio_processor.app import MISSING, create_app
from audio_processor.ffmpeg import probe
from audio_processor.settings import ProcessorSettings
from parlando import gc_tuning, logs, tracing

log = structlog.get_logger(part="app")


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises `OSError` if another process has the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns 1 if the worker has failed or the port is taken."""
    settings = ProcessorSettings()
    logs.configure("audio-processor", level=settings.log_level, form=settings.log_format)
    tracing.configure(
        "audio-processor",
        endpoint=settings.otel_exporter_otlp_endpoint,
        share=settings.otel_traces_sampler_arg,
    )
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when it has shut down: exit 0
    ffmpeg = probe()
    if ffmpeg is None:
        log.error("ffmpeg.missing", why=MISSING)
    else:
        log.info("ffmpeg.found", version=ffmpeg.version, path=ffmpeg.path)
    config = uvicorn.Config(
        app := create_app(settings, ffmpeg),
        host=settings.processor_host,
        port=settings.processor_port,
        log_level="warning",
        access_log=False,
    )
    try:
        listener = listen(settings.processor_host, settings.processor_port)
    except OSError as error:  # before the worker starts: it would claim work, and look alive
        log.error(
            "port.taken",
            port=settings.processor_port,
            error=str(error),
            do="end the process that uses it, or set PROCESSOR_PORT",
        )
        return 1
    gc_tuning.freeze()
    with suppress(KeyboardInterrupt):  # uvicorn raises SIGINT again after its shutdown
        uvicorn.Server(config).run([listener])
    return 1 if app.state.failed else 0


if __name__ == "__main__":
    sys.exit(main())
