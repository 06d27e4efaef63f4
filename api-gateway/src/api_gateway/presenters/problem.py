"""Errors as HTTP answers: RFC 9457 bodies, or OpenAI's on its routes."""

from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway.presenters import openai
from api_gateway.presenters.error_mapping import INTERNAL, RETRY_AFTER_S, mapping_of
from parlando.errors import InvalidRequestError, ParlandoError


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
    return problem("internal", message, status=500, title=INTERNAL.title)
