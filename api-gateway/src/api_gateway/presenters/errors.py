"""The one table from error codes to HTTP statuses and WebSocket close codes; RFC 9457 bodies."""

from dataclasses import dataclass
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway.presenters import openai
from parlando.errors import InvalidRequestError, ParlandoError


@dataclass(frozen=True, slots=True)
class ErrorMapping:
    """How an error looks from outside."""

    status: int
    close: int
    title: str


_INTERNAL: Final = ErrorMapping(500, 1011, "Something went wrong here")
ERROR_MAPPINGS: Final[dict[str, ErrorMapping]] = {
    "invalid_request": ErrorMapping(400, 1003, "The request isn't understood"),
    "invalid_audio": ErrorMapping(415, 1003, "The audio can't be taken"),
    "not_allowed": ErrorMapping(401, 1008, "Not allowed"),
    "key_not_found": ErrorMapping(404, 1008, "No such key"),
    "session_taken": ErrorMapping(409, 1008, "The session id is in use"),
    "session_not_found": ErrorMapping(404, 1008, "No such session"),
    "viewer_not_found": ErrorMapping(404, 1008, "No such viewer"),
    "session_closed": ErrorMapping(409, 1008, "The session has ended"),
    "session_lost": ErrorMapping(503, 1011, "The session was lost"),
    "superseded": ErrorMapping(409, 1008, "A newer connection took over"),
    "too_many_controls": ErrorMapping(429, 1008, "Too many messages wait to be processed"),
    "job_not_found": ErrorMapping(404, 1008, "No such job"),
    "job_not_ready": ErrorMapping(409, 1008, "The job has no result"),
    "delivery_not_found": ErrorMapping(404, 1008, "No such delivery"),
    "conflict": ErrorMapping(409, 1008, "The Idempotency-Key is taken"),
    "refused_address": ErrorMapping(400, 1008, "The URL may not be called"),
    "storage_unavailable": ErrorMapping(507, 1011, "The blob store can't take it"),
    "at_capacity": ErrorMapping(503, 1013, "No room for another session"),
    "unavailable": ErrorMapping(503, 1011, "Redis can't be reached"),
    "idle": ErrorMapping(408, 4408, "Nothing was heard for too long"),
    "timeout": ErrorMapping(408, 1008, "The request took too long"),
    "too_big": ErrorMapping(413, 1009, "The message is too big"),
}


RETRY_AFTER_S: Final = 5  # that long clients should wait for room, or for Redis


def mapping_of(error: ParlandoError) -> ErrorMapping:
    """The outside of an error."""
    return ERROR_MAPPINGS.get(error.code, _INTERNAL)


def event_of(error: ParlandoError) -> dict[str, Any]:
    """The `error` message of our WebSocket."""
    later = {"retry_after": RETRY_AFTER_S} if error.code in ("at_capacity", "unavailable") else {}
    return {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        **later,
    }


def problem(code: str, detail: str, *, status: int, title: str, **more: Any) -> JSONResponse:
    """A problem details answer (RFC 9457)."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **more}
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


class ParamError(InvalidRequestError):
    """Raised when a parameter of OpenAI's API doesn't fit; `param` and `kind` are told as it does."""

    def __init__(self, message: str, param: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.kind = code


_OPENAI: Final = ("/v1/audio/", "/v1/models")
_STATUSES: Final = {"invalid_audio": 400, "at_capacity": 429}  # where OpenAI's differ from ours


def _is_openai(request: Request) -> bool:
    return request.url.path.startswith(_OPENAI)


def openai_answer(error: ParlandoError) -> JSONResponse:
    """An error in OpenAI's shape."""
    status = _STATUSES.get(error.code, mapping_of(error).status)
    param, code = getattr(error, "param", None), getattr(error, "kind", error.code)
    if code == "model_not_found":
        status = 404
    elif status == 401:
        code = "invalid_api_key"
    return _openai(status, error.message, param, code)


def _openai(status: int, message: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    headers = {"Retry-After": "2"} if status in (429, 503) else None
    return JSONResponse(openai.error(message, kind=kind, param=param, code=code), status, headers)


async def on_parlando_error(request: Request, error: Exception) -> JSONResponse:
    """The handler for every error of ours that a route lets through."""
    assert isinstance(error, ParlandoError)
    if _is_openai(request):
        return openai_answer(error)
    outside = mapping_of(error)
    return problem(
        error.code, error.message, status=outside.status, title=outside.title, retryable=error.retryable
    )


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """The handler for parameters that don't fit."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    message = f"{name}: {first['msg']}"
    if _is_openai(request):
        return _openai(422, message, str(first["loc"][-1]))
    return problem("invalid_request", message, status=422, title="A parameter doesn't fit")


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """The handler for paths and methods that there aren't."""
    assert isinstance(error, HTTPException)
    if _is_openai(request):
        answer = _openai(error.status_code, f"{error.detail}: {request.method} {request.url.path}")
    else:
        answer = problem("http", str(error.detail), status=error.status_code, title=str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def on_disconnect(request: Request, error: Exception) -> Response:
    """The handler for clients that leave while their body is read: no answer can be sent."""
    return Response(status_code=400)


async def on_failure(request: Request, error: Exception) -> JSONResponse:
    """The handler for what nobody expected."""
    message = "Something went wrong here; the log says what"
    if _is_openai(request):
        return _openai(500, message)
    return problem("internal", message, status=500, title=_INTERNAL.title)
