"""Routes of songs: register, list, remove, recognise one in a file. All keys of a cluster share the songs."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep, note_of
from api_gateway.http.job_uploads import Upload, discard, receive
from api_gateway.presenters.session import iso
from parlando.domain.songs import Song
from parlando.errors import InvalidRequestError

NAMES: Final = ("artist", "album", "title")
LONGEST: Final = 300  # characters of a name

router = APIRouter(tags=["songs"])

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    422: {"description": "A parameter is invalid", **_PROBLEM},
    503: {"description": "No song-recognizer is running, too many requests wait, or no Redis", **_PROBLEM},
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    404: {"description": "No such song", **_PROBLEM},
}
_UPLOAD: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    400: {"description": "The form is invalid, or has no file", **_PROBLEM},
    408: {"description": "The body timed out", **_PROBLEM},
    413: {"description": "The file is too big, or the song too long", **_PROBLEM},
    415: {"description": "The file can't be decoded, or is not music", **_PROBLEM},
    507: {"description": "The blob store is full", **_PROBLEM},
}
_FILE: Final = {"type": "string", "format": "binary"}


def _form(**fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["file"], "properties": {"file": _FILE, **fields}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_NAMES_FORM: Final = _form(**{name: {"type": "string", "maxLength": LONGEST} for name in NAMES})


def song_of(song: Song) -> dict[str, Any]:
    """A song as a JSON document."""
    return {
        "id": song.id,
        "artist": song.artist,
        "album": song.album,
        "title": song.title,
        "duration": song.duration,
        "hashes": song.hashes,
        "filename": song.filename,
        "registered_at": iso(song.registered_ms) if song.registered_ms else None,
    }


async def _reply(request: Request, services: Services, caller: Principal, kind: str) -> dict[str, Any]:
    """Receive a file, and let a song-recognizer process it."""
    await services.songs.requests.check()
    upload = await receive(request, services.blobs, limit=services.limits.upload_bytes(caller.holder))
    if upload.source is None:
        raise InvalidRequestError("Expected a file in the form's field `file`, but it is empty or missing")
    try:
        fields = {name: value for name in NAMES if (value := _name(upload, name))}
        source = {
            "blob": upload.source.blob,
            "sha256": upload.source.digest,
            "filename": upload.source.name,
        }
        return await services.songs.requests.ask(kind, {**fields, **source})
    finally:
        await discard(services.blobs, upload.source.blob)


def _name(upload: Upload, name: str) -> str:
    value = " ".join((upload.one(name) or "").split())
    if len(value) > LONGEST:
        raise InvalidRequestError(f"Expected {name} of at most {LONGEST} characters")
    return value


@router.post("/register", status_code=201, responses=_UPLOAD, openapi_extra=_NAMES_FORM)
@router.post("/songs", status_code=201, responses=_UPLOAD, openapi_extra=_NAMES_FORM)
async def register(request: Request, caller: PrincipalDep, services: ServicesDep) -> JSONResponse:
    """Register a song (multipart, `file`). Names that the form doesn't have are read from the file's tags.

    A song with the same audio is registered once: a repeat returns it with status 200.
    """
    reply = await _reply(request, services, caller, "register")
    note_of(request).about = f"song:{reply['song']['id']}"
    return JSONResponse(song_of(Song(**reply["song"])), 201 if reply["registered"] else 200)


@router.get("/songs", responses=_ERRORS)
async def listed(
    caller: PrincipalDep,
    services: ServicesDep,
    after: Annotated[int, Query(ge=0, description="`next` of the previous page")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    sha256: Annotated[
        str | None, Query(pattern=r"^[0-9a-f]{64}$", description="Only the song registered from this file")
    ] = None,
) -> dict[str, Any]:
    """The registered songs, in the order in which they were registered."""
    index = services.songs.index
    if sha256:
        found = await index.by_file(sha256)
        page, following = [found] if found else [], None
    else:
        page = await index.page(after=after, limit=limit + 1)
        following = page[limit - 1].id if len(page) > limit else None
        page = page[:limit]
    return {"songs": [song_of(song) for song in page], "total": await index.count(), "next": following}


@router.post("/songs/recognise", responses=_UPLOAD, openapi_extra=_form())
async def recognise(request: Request, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """The song in the first minute of a file (multipart, `file`); `song` is null if none is recognised."""
    return await _reply(request, services, caller, "recognise")


Number = Annotated[int, Path(ge=1, le=(1 << 24) - 1)]


@router.get("/songs/{number}", responses=_ONE)
async def shown(number: Number, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """A registered song."""
    return song_of(await services.songs.index.song(number))


@router.delete("/songs/{number}", responses=_ONE)
async def remove(number: Number, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Remove a song. It is not recognised any more from now on."""
    await services.songs.index.remove(number)
    return {"id": number, "status": "removed"}
