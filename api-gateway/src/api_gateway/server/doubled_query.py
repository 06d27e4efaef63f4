"""Repairs URLs with two query strings, as older versions of Omi send them."""

from starlette.types import ASGIApp, Receive, Scope, Send


class DoubledQuery:
    """ASGI middleware. Older Omi appends `?sample_rate=…&uid=…` to a URL that may have a query already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve with every question mark inside the query replaced by `&`."""
        query = scope.get("query_string", b"")
        if b"?" in query and scope["path"].endswith(("/streaming", "/audio", "/setup", "/stt")):
            scope = {**scope, "query_string": query.replace(b"?", b"&")}
        await self._app(scope, receive, send)
