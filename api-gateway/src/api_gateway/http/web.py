"""The web app: serves its pages and modules as static files."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from api_gateway.http.assets import Asset, Assets
from api_gateway.root_paths import in_ingress, path_below

FOLDER: Final = Path(__file__).parents[1] / "web"

_POLICY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
)
HEADERS: Final = {
    "Content-Security-Policy": "; ".join([*_POLICY, "frame-ancestors 'none'"]),
    "Cache-Control": "no-cache",  # revalidated at each use, usually with a 304
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), display-capture=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",  # the URL of a viewer's page contains its token
    "X-Content-Type-Options": "nosniff",
}


def headers_of(scope: Scope) -> dict[str, str]:
    """`HEADERS`, but behind Home Assistant's ingress: its pages show the web app in a frame."""
    if not in_ingress(scope):
        return HEADERS
    return HEADERS | {"Content-Security-Policy": "; ".join([*_POLICY, "frame-ancestors 'self'"])}


def mount(app: FastAPI) -> None:
    """Serve `/`, `/watch/{session}`, the files that they load, and the service worker."""
    assets = Assets(FOLDER)

    def answering(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return asset.response(request.headers, headers_of(request.scope))

        return answer

    async def file(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)
            return
        name = path_below(scope).removeprefix("/app/")
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        if (asset := assets.files.get(name)) is None:
            raise HTTPException(404)
        answer = asset.response(Headers(scope=scope), headers_of(scope))
        await answer(scope, receive, send)

    app.add_route("/", answering(assets.files["index.html"]), include_in_schema=False)
    app.add_route("/watch/{sid}", answering(assets.files["watch.html"]), include_in_schema=False)
    app.add_route("/sw.js", answering(assets.worker), include_in_schema=False)
    app.mount("/app", file)
