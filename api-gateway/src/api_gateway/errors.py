"""The one table from error codes to HTTP statuses and WebSocket close codes; RFC 9457 bodies."""

from dataclasses import dataclass
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from parlando.errors import ParlandoError


@dataclass(frozen=True, slots=True)
class Border:
    """How an error looks from outside."""

    status: int
    close: int
    title: str


_INTERNAL: Final = Border(500, 1011, "Something went wrong here")
BORDERS: Final[dict[str, Border]] = {
    "invalid_request": Border(400, 1003, "The request isn't understood"),
    "invalid_audio": Border(415, 1003, "The audio can't be taken"),
    "not_allowed": Border(401, 1008, "Not allowed"),
    "key_not_found": Border(404, 1008, "No such key"),
    "session_taken": Border(409, 1008, "The session id is in use"),
    "session_not_found": Border(404, 1008, "No such session"),
    "session_closed": Border(409, 1008, "The session has ended"),
    "session_lost": Border(503, 1011, "The session was lost"),
    "superseded": Border(409, 1008, "A newer connection took over"),
    "at_capacity": Border(503, 1013, "No room for another session"),
    "unavailable": Border(503, 1011, "Redis can't be reached"),
    "idle": Border(408, 4408, "Nothing was heard for too long"),
    "too_big": Border(413, 1009, "The message is too big"),
}


def border(error: ParlandoError) -> Border:
    """The outside of an error."""
    return BORDERS.get(error.code, _INTERNAL)


def problem(code: str, detail: str, *, status: int, title: str, **more: Any) -> JSONResponse:
    """A problem details answer (RFC 9457)."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **more}
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


async def on_parlando_error(request: Request, error: Exception) -> JSONResponse:
    """The handler for every error of ours that a route lets through."""
    assert isinstance(error, ParlandoError)
    outside = border(error)
    return problem(
        error.code, error.message, status=outside.status, title=outside.title, retryable=error.retryable
    )


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """The handler for parameters that don't fit."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return problem("invalid_request", f"{name}: {first['msg']}", status=422, title="A parameter doesn't fit")
