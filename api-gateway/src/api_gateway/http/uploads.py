"""Request bodies: limited in size, and never written to disk."""

from dataclasses import dataclass
from typing import Final, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from api_gateway.server.request_limits import MAX_BODY, allow_body
from parlando.errors import InvalidRequestError

Model = TypeVar("Model", bound=BaseModel)

MARGIN: Final = 1 << 16  # bytes of a form besides its file


class _InMemory(MultiPartParser):
    """Starlette's parser without spooling to disk, which it does above a megabyte: audio stays in memory."""

    spool_max_size = 1 << 30


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: its first file, if there is one, and its other fields."""

    file: bytes | None
    fields: dict[str, str]


async def body_of(request: Request, limit: int) -> bytes:
    """The body. Raises `TooBigError` beyond `limit` bytes, `SlowBodyError`."""
    allow_body(request, limit)
    return await request.body()


async def model_of(request: Request, kind: type[Model]) -> Model:
    """The JSON body as a model; an empty body and `null` count as an empty object.

    FastAPI would read a body declared as a parameter before the key is checked; call this after the check.

    Raises
    ------
    InvalidRequestError, RequestValidationError, TooBigError, SlowBodyError

    """
    body = await body_of(request, MAX_BODY)
    try:
        parsed = orjson.loads(body) if body else None
        return kind.model_validate({} if parsed is None else parsed)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Expected JSON, but {error}") from error
    except ValidationError as error:
        raise RequestValidationError(
            [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
        ) from error


async def form_of(request: Request, limit: int) -> Form:
    """The multipart form in the body. Raises `TooBigError`, `InvalidRequestError`."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequestError("Expected a multipart form with a file, but got another Content-Type")
    allow_body(request, limit + MARGIN)
    try:
        form = await _InMemory(request.headers, request.stream(), max_files=4, max_fields=50).parse()
    except MultiPartException as error:
        raise InvalidRequestError(f"Expected a multipart form, but {error.message}") from error
    file, fields = None, {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            file = await value.read() if file is None else file
            await value.close()
        else:
            fields[name] = value
    return Form(file, fields)
