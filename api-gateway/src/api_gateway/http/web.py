"""The web app: serves its pages and modules as static files."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_gateway.root_paths import in_ingress

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


class _SecurityHeaders:
    """ASGI middleware that adds the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers_of(scope))
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def _app_page(request: Request) -> FileResponse:
    return FileResponse(FOLDER / "index.html", headers=headers_of(request.scope))


async def _watch_page(request: Request) -> FileResponse:
    return FileResponse(FOLDER / "watch.html", headers=headers_of(request.scope))


def mount(app: FastAPI) -> None:
    """Serve `/`, `/watch/{session}` and the files that they load."""
    app.add_route("/", _app_page, include_in_schema=False)
    app.add_route("/watch/{sid}", _watch_page, include_in_schema=False)
    app.mount("/app", _SecurityHeaders(StaticFiles(directory=FOLDER, follow_symlink=True)))
