"""Errors as HTTP responses: RFC 9457 bodies, or the format of the service whose API a route is."""

import re
from typing import Any, Final

from asgi_correlation_id import correlation_id
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway.presenters import deepgram, openai
from api_gateway.presenters.error_mapping import (
    INTERNAL,
    RETRY_AFTER_S,
    limited,
    mapping_of,
    retry_after_s,
)
from api_gateway.root_paths import path_below
from parlando.errors import LimitReachedError, ParlandoError


def problem(
    code: str, detail: str, *, status: int, title: str, retry_after_s: int = RETRY_AFTER_S, **more: Any
) -> JSONResponse:
    """A problem details response (RFC 9457). `retry_after_s`: for the header, if the status has it."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **more}
    headers = {"Retry-After": str(retry_after_s)} if status in (429, 503) else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


_OPENAI: Final = ("/v1/audio/", "/v1/models", "/v1/realtime")
_STATUSES: Final = {
    "invalid_audio": 400,
    "at_capacity": 429,
}  # where OpenAI's API differs from `ERROR_MAPPINGS`


def is_openai(request: Request) -> bool:
    """Whether a route is of OpenAI's API."""
    return path_below(request.scope).startswith(_OPENAI)


def _hint(path: str) -> str:
    """The path that was probably meant, if the client's base URL ends with a part of it; else ""."""
    meant = re.sub(r"/{2,}", "/", path)
    while meant.startswith("/v1/v1/"):
        meant = meant.removeprefix("/v1")
    return meant if meant != path else ""


_DEEPGRAM: Final = ("/v1/listen", "/v1/auth/grant")


def _is_deepgram(request: Request) -> bool:
    return path_below(request.scope) in _DEEPGRAM


def _deepgram(status: int, code: str, message: str, *, retry_after_s: int = RETRY_AFTER_S) -> JSONResponse:
    headers = {"Retry-After": str(retry_after_s)} if status in (402, 429, 503) else None
    body = deepgram.error(code, message, correlation_id.get() or "")
    return JSONResponse(body, status, headers)


def openai_answer(error: ParlandoError) -> JSONResponse:
    """An error in OpenAI's format."""
    status = _STATUSES.get(error.code, mapping_of(error).status)
    param, code = getattr(error, "param", None), getattr(error, "kind", error.code)
    if code == "model_not_found":
        status = 404
    elif status == 401:
        code = "invalid_api_key"
    elif isinstance(error, LimitReachedError):
        return _openai_limit(error)
    return _openai(status, error.message, param, code)


def _openai_limit(error: LimitReachedError) -> JSONResponse:
    """OpenAI's two errors with status 429. Its libraries repeat only the one that `x-should-retry` allows."""
    kind, code = openai.limit_kind(error.code)
    body = openai.error(error.message, kind=kind, code=code)
    retry = "true" if error.retryable else "false"
    return JSONResponse(body, 429, {"Retry-After": str(error.retry_after_s), "x-should-retry": retry})


def _openai(status: int, message: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    headers = {"Retry-After": "2"} if status in (429, 503) else None
    return JSONResponse(openai.error(message, kind=kind, param=param, code=code), status, headers)


async def on_parlando_error(request: Request, error: Exception) -> JSONResponse:
    """Handler of every `ParlandoError` that a route raises."""
    assert isinstance(error, ParlandoError)
    if is_openai(request):
        return openai_answer(error)
    if _is_deepgram(request):
        status, code = deepgram.status_of(error), deepgram.err_code(error)
        return _deepgram(status, code, error.message, retry_after_s=retry_after_s(error))
    mapping = mapping_of(error)
    return problem(
        error.code,
        error.message,
        status=mapping.status,
        title=mapping.title,
        retry_after_s=retry_after_s(error),
        retryable=error.retryable,
        **limited(error),
    )


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """Handler of invalid parameters."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    message = f"{name}: {first['msg']}"
    if is_openai(request):
        return _openai(422, message, str(first["loc"][-1]))
    if _is_deepgram(request):
        return _deepgram(400, deepgram.BAD_REQUEST, message)
    return problem("invalid_request", message, status=422, title="A parameter is invalid")


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Handler of unknown paths and methods."""
    assert isinstance(error, HTTPException)
    hint = _hint(path_below(request.scope)) if error.status_code == 404 else ""
    if is_openai(request) or hint.startswith(_OPENAI):
        more = f"; the path is {hint}: check the base URL" if hint else ""
        answer = _openai(
            error.status_code, f"{error.detail}: {request.method} {path_below(request.scope)}{more}"
        )
    elif _is_deepgram(request):
        answer = _deepgram(error.status_code, deepgram.BAD_REQUEST, str(error.detail))
    else:
        answer = problem("http", str(error.detail), status=error.status_code, title=str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def on_disconnect(request: Request, error: Exception) -> Response:
    """Handler of clients that disconnect while their body is read: no response can be sent."""
    return Response(status_code=400)


async def on_failure(request: Request, error: Exception) -> JSONResponse:
    """Handler of unexpected exceptions."""
    message = "Internal error; the gateway's log has the details"
    if is_openai(request):
        return _openai(500, message)
    if _is_deepgram(request):
        return _deepgram(500, "INTERNAL_SERVER_ERROR", message)
    return problem("internal", message, status=500, title=INTERNAL.title)
