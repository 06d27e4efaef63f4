"""Publishing the gateway below a path.

Routes don't know the path: ASGI's `root_path` has it, and `path` begins with it even if the proxy strips it.
"""

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api_gateway.root_paths import root_of

INGRESS: Final = b"x-ingress-path"


class RootPath:
    """ASGI middleware that sets `root_path`: of the setting, or of `X-Ingress-Path` from a trusted proxy.

    It must be outside of the middleware that replaces a proxy's address by its client's.
    """

    def __init__(self, app: ASGIApp, *, root: str, is_proxy: Callable[[str], bool]) -> None:
        self._app = app
        self._root = root
        self._is_proxy = is_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] in ("http", "websocket"):
            ingress = self._ingress(scope)
            if root := ingress or self._root:
                below = scope["path"] != root and not scope["path"].startswith(f"{root}/")
                path = f"{root}{scope['path']}" if below else scope["path"]
                scope = {**scope, "path": path, "root_path": root, "parlando.ingress": bool(ingress)}
        await self._app(scope, receive, send)

    def _ingress(self, scope: Scope) -> str:
        """The root path of the header; "" if it is missing or invalid, or its sender isn't trusted."""
        values = [value for name, value in scope["headers"] if name == INGRESS]
        client = scope.get("client")
        if len(values) != 1 or not client or not self._is_proxy(client[0]):
            return ""
        return root_of(values[0].decode("latin-1")) or ""
