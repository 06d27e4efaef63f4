"""Adds the state of the limit of requests to the answers of requests that it counts.

`RateLimit-Limit`, `-Remaining`, `-Reset` and `-Policy` are those of
draft-ietf-httpapi-ratelimit-headers-06, the last version with one header for each value, which most clients
read. OpenAI's routes have OpenAI's headers too.
"""

import time
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_gateway.dependencies import WINDOWS
from api_gateway.limits.windows import WINDOW_S, Window
from api_gateway.presenters.problem import is_openai


class RateHeaders:
    """ASGI middleware. Of several windows it shows the one with the fewest requests left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            windows = scope.get("state", {}).get(WINDOWS)
            if windows and message["type"] == "http.response.start":
                headers = headers_of(windows, openai=is_openai(Request(scope)), now=time.time())
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, with_headers)


def headers_of(windows: Sequence[Window], *, openai: bool, now: float) -> dict[str, str]:
    """The headers. `now`: unix time; `RateLimit-Reset` is in seconds from then."""
    shown = min(windows, key=lambda window: window.remaining)
    reset_s = min(WINDOW_S, max(0, round(shown.resets_at - now)))
    found = {
        "RateLimit-Limit": str(shown.limit),
        "RateLimit-Remaining": str(shown.remaining),
        "RateLimit-Reset": str(reset_s),
        "RateLimit-Policy": ", ".join(f"{window.limit};w={WINDOW_S}" for window in windows),
    }
    if openai:
        found["x-ratelimit-limit-requests"] = str(shown.limit)
        found["x-ratelimit-remaining-requests"] = str(shown.remaining)
        found["x-ratelimit-reset-requests"] = f"{reset_s}s"
    return found
