"""How many requests and WebSockets of one client there may be at a time.

Connections are counted too (`connections`), but all those of a trusted proxy come from its own address:
whose they are, the headers of each request tell, which uvicorn has put into `scope["client"]` by now.
"""

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from api_gateway import metrics
from api_gateway.connections import client_of
from api_gateway.errors import problem


class ClientLimits:
    """ASGI middleware. `most`: requests in progress and open WebSockets of one address."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most
        self._clients: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse with 429."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        address, _ = scope.get("client") or ("", 0)
        client = client_of(address)
        if self._clients[client] >= self._most:
            metrics.TCP_REFUSED.labels("address").inc()
            detail = f"At most {self._most} connections from one address (MAX_CONNECTIONS_PER_ADDRESS)"
            answer = problem("too_many_connections", detail, status=429, title="Too many connections")
            await answer(scope, receive, send)
            return
        self._clients[client] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]
