"""`python -m audio_processor`: one process of the FFmpeg service."""

import signal
import sys

import structlog
import uvicorn

from audio_processor.app import MISSING, create_app
from audio_processor.ffmpeg import probe
from audio_processor.settings import ProcessorSettings
from parlando import gc_tuning, logs

log = structlog.get_logger(part="app")


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns 1 if the worker has failed."""
    settings = ProcessorSettings()
    logs.configure("audio-processor", level=settings.log_level, form=settings.log_format)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when it has shut down: exit 0
    ffmpeg = probe()
    if ffmpeg is None:
        log.error("ffmpeg.missing", why=MISSING)
    else:
        log.info("ffmpeg.found", version=ffmpeg.version, path=ffmpeg.path)
    app = create_app(settings, ffmpeg)
    gc_tuning.freeze()
    uvicorn.run(
        app,
        host=settings.processor_host,
        port=settings.processor_port,
        log_level="warning",
        access_log=False,
    )
    return 1 if app.state.failed else 0


if __name__ == "__main__":
    sys.exit(main())
