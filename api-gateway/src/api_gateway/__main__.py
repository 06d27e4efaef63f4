"""`python -m api_gateway` runs one gateway process."""

import signal
import sys
from contextlib import suppress

import structlog

from api_gateway.app import create_app
from api_gateway.omniasr_settings import differences
from api_gateway.server.request_ids import log_request_id
from api_gateway.server.uvicorn_server import server_of
from api_gateway.settings import GatewaySettings
from parlando import gc_tuning, logs, tracing
from parlando.plugins import PluginError

log = structlog.get_logger(part="main")


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns 1 after an error, 3 if the port can't be opened."""
    settings = GatewaySettings()
    logs.configure("gateway", level=settings.log_level, form=settings.log_format, processors=[log_request_id])
    tracing.configure(
        "gateway", endpoint=settings.otel_exporter_otlp_endpoint, share=settings.otel_traces_sampler_arg
    )
    if settings.problem:
        log.error("gateway.failed", error=settings.problem)
        return 1
    if not settings.api_keys:
        log.warning("keys.none", effect="serving this machine only; set API_KEYS to serve other machines")
    for name, effect in differences(settings).items():
        log.warning("setting.differs", setting=name, effect=effect)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn re-raises it after its shutdown: exit 0
    try:
        app = create_app(settings)
    except PluginError as error:
        log.error("gateway.failed", error=error.message)
        return 1
    gc_tuning.freeze()
    server = server_of(app, settings)
    with suppress(KeyboardInterrupt):  # uvicorn re-raises SIGINT after its shutdown
        server.run()
    if not server.started:
        return 3  # uvicorn has logged why it couldn't start
    return 1 if app.state.services.cluster.failed else 0


if __name__ == "__main__":
    sys.exit(main())
