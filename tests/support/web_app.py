"""The web app's files on a port, without a cluster: every request of the API is answered with 404."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api_gateway.http import web
from api_gateway.http.assets import Asset, Assets
from api_gateway.server.root_path import RootPath
from support.ports import free_port


@dataclass
class WebApp:
    """A server of the files. `asked`: the paths of all requests so far."""

    url: str
    asked: list[str]
    _worker: bytes
    _server: uvicorn.Server
    _thread: threading.Thread

    def update(self) -> None:
        """From now on the service worker is one of a newer version with the same files."""
        self._worker = self._worker.replace(b'const VERSION = "', b'const VERSION = "next', 1)

    def stop(self) -> None:
        """Close the port."""
        self._server.should_exit = True
        self._thread.join(timeout=600)


@contextmanager
def web_app(root: str = "") -> Iterator[WebApp]:
    """Serve the files, below the path `root`."""
    app, port, asked = FastAPI(openapi_url=None), free_port(), []

    async def worker(request: Request) -> Response:
        return Asset.of(running._worker, ".js").response(request.headers, web.HEADERS)

    app.add_route("/sw.js", worker)  # found before that of `web.mount`
    web.mount(app)
    below = RootPath(app, root=root, is_proxy=lambda _: False)

    async def noting(scope, receive, send) -> None:
        if scope["type"] == "http":
            asked.append(scope["path"])
        await below(scope, receive, send)

    server = uvicorn.Server(
        uvicorn.Config(
            noting,
            host="127.0.0.1",
            port=port,
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    running = WebApp(f"http://127.0.0.1:{port}{root}", asked, Assets(web.FOLDER).worker.body, server, thread)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive(), "the server didn't start"
    try:
        yield running
    finally:
        running.stop()
