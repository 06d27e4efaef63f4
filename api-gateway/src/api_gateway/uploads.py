"""Request bodies: bounded, and never on disk."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from parlando.errors import InvalidRequestError, TooBigError

MARGIN: Final = 1 << 16  # bytes that a form adds to its file


class _InMemory(MultiPartParser):
    """Starlette's parser writes files beyond a megabyte to disk; audio shall never lie there."""

    spool_max_size = 1 << 30


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: its first file, if there is one, and its other fields."""

    file: bytes | None
    fields: dict[str, str]


async def body_of(request: Request, most: int) -> bytes:
    """The body. Raises `TooBigError` beyond `most` bytes."""
    _check_length(request, most)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        _check(size, most)
        parts.append(part)
    return b"".join(parts)


async def form_of(request: Request, most: int) -> Form:
    """The multipart form in the body. Raises `TooBigError`, `InvalidRequestError`."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequestError("Expected a multipart form with a file, but the body is something else")
    _check_length(request, most + MARGIN)

    async def limited() -> AsyncGenerator[bytes, None]:
        size = 0
        async for part in request.stream():
            size += len(part)
            _check(size, most + MARGIN)
            yield part

    try:
        parsed = await _InMemory(request.headers, limited(), max_files=4, max_fields=50).parse()
    except MultiPartException as error:
        raise InvalidRequestError(f"Expected a multipart form, but {error.message}") from error
    file, fields = None, {}
    for name, value in parsed.multi_items():
        if isinstance(value, UploadFile):
            file = await value.read() if file is None else file
            await value.close()
        else:
            fields[name] = value
    return Form(file, fields)


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    _check(int(length) if length.isdigit() else 0, most)


def _check(size: int, most: int) -> None:
    if size > most:
        raise TooBigError(f"Expected a body of at most {most >> 20} MB")
