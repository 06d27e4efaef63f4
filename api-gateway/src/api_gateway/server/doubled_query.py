"""The one thing about HTTP that older Omi gets wrong."""

from starlette.types import ASGIApp, Receive, Scope, Send


class DoubledQuery:
    """Older Omi glues `?sample_rate=…&uid=…` to a URL that may have a query already: take it apart."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve with every further question mark of the query read as `&`."""
        query = scope.get("query_string", b"")
        if b"?" in query and scope["path"].endswith(("/streaming", "/audio", "/setup", "/stt")):
            scope = {**scope, "query_string": query.replace(b"?", b"&")}
        await self._app(scope, receive, send)
