"""The HTTP server of a gateway: uvicorn with limits of connections, heads and time."""

import asyncio
import logging

import uvicorn
from fastapi import FastAPI

from api_gateway.server.config import ServerConfig
from api_gateway.server.connections import Connections
from api_gateway.server.http_protocol import HttpProtocol
from api_gateway.settings import GatewaySettings

SWEEP_EVERY_S = 1


def server_of(app: FastAPI, settings: GatewaySettings) -> uvicorn.Server:
    """A server for the app, with the limits of its `state.connections`."""
    connections: Connections = app.state.connections

    async def sweep() -> None:
        connections.sweep(asyncio.get_running_loop().time())

    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # else it logs every malformed form
    config = ServerConfig(
        app,
        connections=connections,
        head_timeout_s=settings.head_timeout_s,
        root=settings.root_path,
        http=HttpProtocol,
        host=settings.listen_host,
        port=settings.port,
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        log_level="error",  # it warns of every malformed request; the metrics count those
        access_log=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=settings.keep_alive_s,
        ws_max_size=settings.max_message_kb * 1024,
        ws_ping_interval=settings.ping_s,
        ws_ping_timeout=settings.ping_s,
        timeout_graceful_shutdown=5,
        callback_notify=sweep,
        timeout_notify=SWEEP_EVERY_S,
    )
    return uvicorn.Server(config)
