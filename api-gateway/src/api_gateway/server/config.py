"""uvicorn's configuration, extended by the connection limits that its protocols read."""

from typing import Any

import uvicorn

from api_gateway.server.connections import Connections
from api_gateway.server.root_path import RootPath


class ServerConfig(uvicorn.Config):
    """`head_timeout_s`: seconds within which the head of a request must arrive. `root`: see `RootPath`."""

    def __init__(
        self, app: Any, *, connections: Connections, head_timeout_s: float, root: str = "", **options: Any
    ) -> None:
        super().__init__(app, **options)
        self.limits = connections
        self.head_timeout_s = head_timeout_s
        self._root = root

    def load(self) -> None:
        """See uvicorn. `RootPath` is outermost: it needs the address of the peer itself."""
        super().load()
        self.loaded_app = RootPath(self.loaded_app, root=self._root, is_proxy=self.limits.is_proxy)
