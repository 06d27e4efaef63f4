"""uvicorn's configuration, extended by the connection limits that its protocols read."""

from typing import Any

import uvicorn

from api_gateway.server.connections import Connections


class ServerConfig(uvicorn.Config):
    """`head_timeout_s`: seconds within which the head of a request must arrive."""

    def __init__(self, app: Any, *, connections: Connections, head_timeout_s: float, **options: Any) -> None:
        super().__init__(app, **options)
        self.limits = connections
        self.head_timeout_s = head_timeout_s
