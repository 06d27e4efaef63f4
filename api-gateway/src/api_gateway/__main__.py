"""`python -m api_gateway`: one gateway process."""

import signal
import sys

import structlog
import uvicorn

from api_gateway.app import create_app
from api_gateway.settings import GatewaySettings
from parlando import heap, logs

log = structlog.get_logger(part="main")


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = GatewaySettings()
    logs.configure("gateway", level=settings.log_level, form=settings.log_format)
    host = settings.host
    if not settings.api_keys:
        host = "127.0.0.1"
        log.warning("keys.none", effect="serving this machine only; set API_KEYS to serve others")
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when it has shut down: exit 0
    app = create_app(settings)
    heap.freeze()
    uvicorn.run(
        app,
        host=host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        ws_max_size=settings.max_message_kb * 1024,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
