"""Resumable uploads by the tus protocol 1.0.0 (core, creation, expiration, termination): https://tus.io.

`POST /v1/stt/jobs` makes a job of a complete upload. A request that breaks off stores what has arrived; the
next one, on any gateway that shares the blob store, continues behind it.
"""

import asyncio
import secrets
from base64 import b64decode
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, Header, Path
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.job_uploads import RAISES_LIMIT
from api_gateway.presenters.problem import on_invalid, on_parlando_error
from api_gateway.server.request_limits import allow_body
from parlando.blobs import Blobs
from parlando.errors import ConflictError, InvalidRequestError, ParlandoError, StorageError, TooBigError
from parlando.growing_blobs import GrowingBlobs
from parlando.ids import UPLOAD_ID_PATTERN, file_name
from parlando.store.uploads import UploadRecord, Uploads, unknown_upload
from parlando.tasks import finish

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,expiration,termination"
OFFSET_TYPE: Final = "application/offset+octet-stream"
MAX_METADATA: Final = 4096  # characters
MAX_WRITERS: Final = 64  # concurrent requests with bytes; others wait
RESERVE: Final = 256 << 20  # bytes of the disk that are promised to no upload
STORE_S: Final = 10.0  # for storing the last bytes of a request that breaks off
EXPIRE_EVERY_S: Final = 60.0

log = structlog.get_logger(part="uploads")
_writers = asyncio.Semaphore(MAX_WRITERS)


class _TusRoute(APIRoute):
    """A route whose responses, errors too, have the header `Tus-Resumable`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                answer = await handler(request)
            except ParlandoError as error:
                answer = await on_parlando_error(request, error)
            except RequestValidationError as error:
                answer = await on_invalid(request, error)
            answer.headers["Tus-Resumable"] = VERSION
            return answer

        return handle


async def _speaks_tus(caller: PrincipalDep, tus_resumable: Annotated[str, Header()] = "") -> None:
    """Refuse requests of another version of the protocol, after those without a key."""
    if tus_resumable != VERSION:
        raise HTTPException(
            412,
            f"Expected the header Tus-Resumable: {VERSION}",
            {"Tus-Version": VERSION, "Tus-Resumable": VERSION},
        )


async def _own(
    upload_id: Annotated[str, Path(pattern=UPLOAD_ID_PATTERN)], caller: PrincipalDep, services: ServicesDep
) -> UploadRecord:
    return await services.uploads.record(upload_id, caller.owner)


UploadDep = Annotated[UploadRecord, Depends(_own)]

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_COMMON: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    412: {"description": "Another version of the protocol, or none", **_PROBLEM},
    422: {"description": "A parameter is invalid", **_PROBLEM},
    503: {"description": "Redis can't be reached, or there are too many uploads", **_PROBLEM},
    507: {"description": "The blob store can't be reached, or is full", **_PROBLEM},
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    **_COMMON,
    404: {"description": "No such upload", **_PROBLEM},
}
_TUS: Final = [Depends(_speaks_tus)]

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], route_class=_TusRoute)


@router.options("", status_code=204)
async def options(services: ServicesDep) -> Response:
    """What this server can do: the protocol's versions and extensions, and the largest file."""
    return Response(
        status_code=204,
        headers={
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(services.settings.max_upload_mb << 20),
        },
    )


@router.post(
    "",
    status_code=201,
    dependencies=_TUS,
    responses={
        **_COMMON,
        400: {"description": "The request is invalid", **_PROBLEM},
        413: {"description": "The file is too big", **_PROBLEM},
    },
)
async def create(
    request: Request,
    caller: PrincipalDep,
    services: ServicesDep,
    upload_length: Annotated[int, Header(ge=1, description="Bytes of the file")],
    upload_metadata: Annotated[
        str, Header(max_length=MAX_METADATA, description="`filename` and the name in base64")
    ] = "",
) -> Response:
    """Begin an upload; `Location` is its address. Its bytes are sent there with PATCH."""
    limit = await services.limits.admit_upload(caller.holder)
    if upload_length > limit:
        raise TooBigError(
            f"Expected a file of at most {limit} bytes, but Upload-Length is {upload_length}; {RAISES_LIMIT}"
        )
    name = file_name(metadata_of(upload_metadata).get("filename", ""))
    growing = services.blobs.growing
    free = await growing.free()
    record = await services.uploads.create(
        caller.owner,
        length=upload_length,
        name=name,
        metadata=upload_metadata,
        free=None if free is None else free - RESERVE,
    )
    try:
        await growing.create(record.upload)
    except StorageError:
        await services.uploads.remove(record)
        raise
    location = f"{request.scope.get('root_path', '')}/v1/uploads/{record.upload}"
    return Response(
        status_code=201, headers={"Location": location, "Upload-Offset": "0", **_expiry(record.expires_ms)}
    )


@router.head("/{upload_id}", dependencies=_TUS, responses=_ONE)
async def head(record: UploadDep, services: ServicesDep) -> Response:
    """How many bytes have arrived: `Upload-Offset`."""
    size = record.length if record.job else await services.blobs.growing.size(record.upload)
    if size is None:
        raise unknown_upload(record.upload)
    headers = {"Upload-Offset": str(size), "Upload-Length": str(record.length), "Cache-Control": "no-store"}
    if record.metadata:
        headers["Upload-Metadata"] = record.metadata
    return Response(headers=headers if record.job else {**headers, **_expiry(record.expires_ms)})


@router.patch(
    "/{upload_id}",
    status_code=204,
    dependencies=_TUS,
    responses={
        **_ONE,
        400: {"description": "The request is invalid", **_PROBLEM},
        408: {"description": "The body timed out; what has arrived is stored", **_PROBLEM},
        409: {"description": "Upload-Offset isn't what has arrived, or a job has the file", **_PROBLEM},
        413: {"description": "More bytes than Upload-Length", **_PROBLEM},
        415: {"description": f"The Content-Type isn't {OFFSET_TYPE}", **_PROBLEM},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {OFFSET_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def patch(
    request: Request,
    record: UploadDep,
    services: ServicesDep,
    upload_offset: Annotated[int, Header(ge=0, description="Bytes that have arrived before")],
) -> Response:
    """Send bytes from `Upload-Offset` on: all that are missing, or some of them."""
    if request.headers.get("content-type") != OFFSET_TYPE:
        raise HTTPException(
            415, f"Expected the header Content-Type: {OFFSET_TYPE}", {"Tus-Resumable": VERSION}
        )
    writer = _Writer(services, record)
    expires_ms = await writer.receive(request, upload_offset)
    return Response(status_code=204, headers={"Upload-Offset": str(writer.size), **_expiry(expires_ms)})


@router.delete("/{upload_id}", status_code=204, dependencies=_TUS, responses=_ONE)
async def terminate(record: UploadDep, services: ServicesDep) -> Response:
    """Delete an upload. A job that was made of it keeps its file."""
    if await services.uploads.remove(record):
        await services.blobs.delete(record.upload)
    return Response(status_code=204)


def _expiry(unix_ms: int) -> dict[str, str]:
    return {"Upload-Expires": formatdate(unix_ms / 1000, usegmt=True)}


def metadata_of(header: str) -> dict[str, str]:
    """The pairs of `Upload-Metadata`: names, and values in base64. Raises `InvalidRequestError`."""
    found: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else []:
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except ValueError as error:  # not base64, or not ASCII
            raise InvalidRequestError(
                f"Expected Upload-Metadata with values in base64, but the value of {name[:40]!r} "
                "is something else"
            ) from error
    return found


class _Writer:
    """One request that writes to an upload. `size`: bytes of the upload that are stored."""

    def __init__(self, services: Services, record: UploadRecord) -> None:
        self._uploads: Uploads = services.uploads
        self._blobs: GrowingBlobs = services.blobs.growing
        self._record = record
        self._id = secrets.token_hex(8)
        self._waiting = bytearray()
        self.size = 0

    async def receive(self, request: Request, offset: int) -> int:
        """Store the body. Returns the time of expiry, unix ms. What arrives before an error is stored too.

        Raises
        ------
        ConflictError
            if the upload doesn't have `offset` bytes, or a job has it.
        SupersededError, UploadNotFoundError, TooBigError, SlowBodyError, StorageError, UnavailableError

        """
        size = await self._blobs.resume(self._record.upload)
        if size is None:
            raise unknown_upload(self._record.upload)
        if offset != size:
            raise ConflictError(
                f"Expected Upload-Offset: {size}, the bytes that have arrived, not {offset}; ask with HEAD"
            )
        self.size = size
        expires_ms = await self._note(begins=True)
        allow_body(request, self._record.length - size)
        async with _writers:
            try:
                async for data in request.stream():
                    self._waiting += data
                    if len(self._waiting) >= self._blobs.piece:
                        await self._store()
            except StorageError:
                raise
            except BaseException:  # also if the client disconnects, or this gateway ends
                await finish(self._store(), within_s=STORE_S)
                raise
            await self._store()
        if self.size > size:
            expires_ms = await self._note()
        return expires_ms

    async def _store(self) -> None:
        if not self._waiting:
            return
        data, self._waiting = bytes(self._waiting), bytearray()
        await self._note()
        await self._blobs.append(self._record.upload, self.size, data)
        self.size += len(data)

    async def _note(self, *, begins: bool = False) -> int:
        return await self._uploads.written(self._record, self._id, size=self.size, begins=begins)


async def expire_loop(uploads: Uploads, blobs: Blobs) -> None:
    """Delete the uploads that have expired."""
    while True:
        try:
            while expired := await uploads.expired():
                for upload in expired:
                    log.info("upload.expired", upload=upload)
                    await blobs.delete(upload)
        except ParlandoError as error:
            log.warning("uploads.not_expired", error=error.message)
        await asyncio.sleep(EXPIRE_EVERY_S)
