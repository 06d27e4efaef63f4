"""Uploads of jobs: streams the file of a multipart form to the blob store."""

import asyncio
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from api_gateway.server.header_values import whole_number
from api_gateway.server.request_limits import allow_body
from parlando.blobs import Blobs
from parlando.errors import InvalidRequestError, TooBigError
from parlando.ids import file_name
from parlando.store.job_store import Source
from parlando.tasks import finish

MAX_FIELDS: Final = 64
MAX_TEXT: Final = 1 << 16  # bytes of all fields that aren't the file
MAX_FORM: Final = 1 << 20  # bytes of a form besides its file: fields, boundaries, headers and an epilogue
DELETE_S: Final = 10.0  # for deleting an upload that no job uses
MAX_UPLOADS: Final = 32  # concurrent, each with a few megabytes in memory; others wait

RAISES_LIMIT: Final = "MAX_UPLOAD_MB, or `upload_mb` of the key or owner, raises it"

_slots = asyncio.Semaphore(MAX_UPLOADS)


_EXTENDED: Final = re.compile(rb"filename\*\s*=\s*\"?utf-8'[^']*'([^;\"\s]*)", re.IGNORECASE)


def _is_element(field: str, name: str) -> bool:
    """Whether a field of a form is an element of the list `name`."""
    return field.startswith(f"{name}[") and field.endswith("]") and field[len(name) + 1 : -1].isdecimal()


@dataclass(slots=True)
class Upload:
    """A form: its file, which is in the blob store, and the values of its other fields in their order."""

    source: Source | None
    fields: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """The last value of a field; None if it is missing or empty."""
        return (self.fields.get(name) or [""])[-1].strip() or None

    def many(self, name: str) -> list[str]:
        """All values of a list, whose name may be sent without brackets, with `[]`, or with `[0]`, `[1]` …"""
        spellings = [name, f"{name}[]", *(each for each in self.fields if _is_element(each, name))]
        return [value for spelling in spellings for value in self.fields.get(spelling, [])]


class _Form:
    """Streaming parser of a form: fills `pieces` (of the file) and `fields`.

    Raises `InvalidRequestError`, `TooBigError`.
    """

    def __init__(self, content_type: str, file_fields: Collection[str]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidRequestError(
                "Expected a multipart form with a file, but got another Content-Type or no boundary"
            )
        self._file_fields = file_fields
        self.pieces: deque[bytes] = deque()
        self.fields: dict[str, list[str]] = {}
        self.filename: str | None = None
        self.size = 0
        self.digest = sha256()
        self._text = 0
        self._count = 0
        self._headers: dict[bytes, bytes] = {}
        self._header = b""
        self._value = b""
        self._name = ""
        self._is_file = False
        self._is_stray = False  # whether the part is a file in a field that isn't one for files
        self._complete = False
        self._parts: list[bytes] = []
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_header,
                    "on_header_value": self._on_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": self._end,
                    "on_end": self._end_form,
                },
            )
        except FormParserError as error:  # a boundary of more than 256 bytes
            raise InvalidRequestError(f"Expected a multipart form, but {error}") from error

    def push(self, data: bytes) -> None:
        """Parse some of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidRequestError(f"Expected a multipart form, but {error}") from error

    def finish(self) -> None:
        """Check at the end of the body that the form is complete."""
        if not self._complete:
            raise InvalidRequestError("Expected a complete multipart form, but its last boundary is missing")

    def _end_form(self) -> None:
        self._complete = True

    def _begin(self) -> None:
        self._headers, self._parts, self._header, self._value = {}, [], b"", b""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise InvalidRequestError(f"Expected at most {MAX_FIELDS} fields in the form")

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_text(end - start)

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _end_headers(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = _filename(disposition, options)
        self._is_file = filename is not None and self._name in self._file_fields
        self._is_stray = filename is not None and not self._is_file
        if filename is not None and self._is_file:
            if self.filename is not None:
                raise InvalidRequestError("Expected one file in the form, but there are more")
            self.filename = file_name(filename)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._is_file:
            self.size += len(piece)
            self.digest.update(piece)
            self.pieces.append(piece)
        else:
            self._count_text(len(piece))
            self._parts.append(piece)

    def _end(self) -> None:
        if not self._is_file:
            self.fields.setdefault(self._name, []).append(b"".join(self._parts).decode("utf-8", "replace"))

    def _count_text(self, size: int) -> None:
        self._text += size
        if self._text > MAX_TEXT and self._name in self._file_fields:
            raise InvalidRequestError(
                f"Expected a file in the field {self._name}, but it is text: its part has no `filename`"
            )
        if self._text > MAX_TEXT and self._is_stray:
            raise InvalidRequestError(
                f"Expected the file in the field {' or '.join(self._file_fields)}, but it is in the field "
                f"{self._name[:40]!r}"
            )
        if self._text > MAX_TEXT:
            raise TooBigError(f"Expected fields of at most {MAX_TEXT >> 10} KB in the form")


def _filename(disposition: bytes, options: Mapping[bytes, bytes]) -> str | None:
    """The file name of a part: `filename`, else `filename*` (RFC 5987); None if it has none."""
    if b"filename" in options:
        return options[b"filename"].decode("utf-8", "replace")
    found = _EXTENDED.search(disposition)
    return unquote(found[1].decode("ascii", "replace"), "utf-8", "replace") if found else None


async def discard(blobs: Blobs, name: str) -> None:
    """Delete an upload that no job uses, even if the request is being cancelled. Raises `StorageError`."""
    await finish(blobs.delete(name), within_s=DELETE_S)


async def receive(
    request: Request,
    blobs: Blobs,
    *,
    limit: int,
    file_fields: Collection[str] = ("file",),
    head: bytes = b"",
) -> Upload:
    """Receive a form, and store its file, of at most `limit` bytes, in the blob store.

    `file_fields`: the names that the file's field may have. `head`: bytes to store in front of the file.

    Raises
    ------
    InvalidRequestError, TooBigError, SlowBodyError, StorageError

    """
    form = _Form(request.headers.get("content-type", ""), file_fields)
    declared = whole_number(request.headers.get("content-length", ""))
    check_size((declared or 0) - MAX_TEXT, limit)
    allow_body(request, limit + MAX_FORM)
    name = secrets.token_hex(16)

    async def file() -> AsyncIterator[bytes]:
        async for data in request.stream():
            form.push(data)
            check_size(form.size, limit)
            while form.pieces:
                yield form.pieces.popleft()
        form.finish()

    body = file()
    first = await anext(body, None)
    if first is None:
        return Upload(None, form.fields)

    async def whole() -> AsyncIterator[bytes]:
        yield head + first
        async for piece in body:
            yield piece

    await _stored(blobs, name, whole())
    source = Source(name, form.filename or "", form.size, form.digest.hexdigest())
    return Upload(source, form.fields)


async def receive_body(
    request: Request, blobs: Blobs, *, limit: int, head: Callable[[bytes], bytes]
) -> Source | None:
    """Store a body that is a file, of at most `limit` bytes, in the blob store. None if it is empty.

    `head`: returns bytes to store in front of the file, given its first piece.

    Raises
    ------
    TooBigError, SlowBodyError, StorageError

    """
    check_size(whole_number(request.headers.get("content-length", "")) or 0, limit)
    allow_body(request, limit)
    name = secrets.token_hex(16)
    pieces = request.stream()
    first = b""
    async for first in pieces:
        if first:
            break
    if not first:
        return None
    size, digest = 0, sha256()

    def counted(piece: bytes) -> bytes:
        nonlocal size
        size += len(piece)
        digest.update(piece)
        check_size(size, limit)
        return piece

    async def whole() -> AsyncIterator[bytes]:
        yield head(first) + counted(first)
        async for piece in pieces:
            yield counted(piece)

    await _stored(blobs, name, whole())
    return Source(name, "", size, digest.hexdigest())


async def _stored(blobs: Blobs, name: str, pieces: AsyncIterator[bytes]) -> None:
    async with _slots:
        try:
            await blobs.put(name, pieces)
        except BaseException:
            await discard(blobs, name)
            raise


def check_size(size: int, limit: int) -> None:
    """Raises `TooBigError` if a file has more than `limit` bytes."""
    if size > limit:
        raise TooBigError(
            f"Maximum content size limit ({limit}) exceeded ({size} bytes read); {RAISES_LIMIT}"
        )
