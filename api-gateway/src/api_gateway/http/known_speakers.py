"""Routes of known speakers: enrol a voice from clips, list, delete. Each key has its own.

A clip is processed as a job without text, whose result is the voice; the clip is deleted with the job.
"""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import JSONResponse

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep, note_of
from api_gateway.http.job_answers import check_completed, ended, kept, remove_later, submitted
from api_gateway.http.job_uploads import Upload, receive
from api_gateway.presenters.session import iso
from parlando.domain.job_options import JobOptions, Priority
from parlando.domain.known_speakers import LEAST_S, KnownSpeaker, VoiceClip, is_boolean
from parlando.errors import AtCapacityError, InvalidRequestError, KnownSpeakerNotFoundError, NoSpeechError
from parlando.ids import one_line
from parlando.store.job_store import Source

MAX_CHARS: Final = 100
"""Longest name."""
MAX_CLIP: Final = 32 << 20
"""Largest clip, in bytes."""
WITHIN_S: Final = 120
"""How long a request waits for its clip."""

router = APIRouter(prefix="/v1/speakers", tags=["speakers"])

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    503: {"description": "Redis can't be reached", **_PROBLEM},
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    404: {"description": "No such speaker", **_PROBLEM},
    422: {"description": "The name is invalid", **_PROBLEM},
}
_ENROLMENT: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    400: {"description": "The form or the name is invalid, or has no file", **_PROBLEM},
    408: {"description": "The body timed out", **_PROBLEM},
    409: {"description": "There are too many speakers, or clips of this one", **_PROBLEM},
    413: {"description": "The file is too big", **_PROBLEM},
    415: {"description": "The file can't be decoded", **_PROBLEM},
    422: {"description": "There is too little speech in the file", **_PROBLEM},
    500: {"description": "The transcriber failed", **_PROBLEM},
    503: {"description": "No capacity, or Redis can't be reached", **_PROBLEM},
    507: {"description": "The blob store is full", **_PROBLEM},
}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "file"],
                    "properties": {
                        "name": {"type": "string", "minLength": 1, "maxLength": MAX_CHARS},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


def document_of(speaker: KnownSpeaker) -> dict[str, Any]:
    """A known speaker as a JSON document, without the voice."""
    return {
        "name": speaker.name,
        "clips": len(speaker.clips),
        "seconds": round(sum(clip.seconds for clip in speaker.clips), 1),
        "created_at": iso(speaker.created_ms),
    }


@router.post("", status_code=201, responses=_ENROLMENT, openapi_extra=_BODY)
async def enrol(request: Request, caller: PrincipalDep, services: ServicesDep) -> JSONResponse:
    """Enrol a speaker by a clip of the voice alone with at least 4 s of speech (multipart, `name`, `file`).

    A further clip with the same name is added to that speaker. Ask people before you enrol them.
    """
    limit = min(MAX_CLIP, await services.limits.admit_upload(caller.holder))
    upload = await receive(request, services.blobs, limit=limit)
    if upload.source is None:
        raise InvalidRequestError("Expected a file in the form's field `file`, but it is empty or missing")
    async with kept(services, upload.source):
        name = _name(upload)
        note_of(request).about = f"speaker:{name}"
        options = JobOptions(diarize=True, enrol=True, priority=Priority.HIGH)
        pools = await services.admission.choose((), options.task)
    voice = await _voice(request, services, upload.source, options, pool=pools[0].name, caller=caller)
    if voice.seconds < LEAST_S:
        raise NoSpeechError(
            f"Expected at least {LEAST_S:.0f} s of speech, but the clip has {voice.seconds:.1f} s"
        )
    clip = voice.model_copy(update={"digest": upload.source.digest})
    return JSONResponse(document_of(await services.known_speakers.add(caller.owner, name, clip)), 201)


async def _voice(
    request: Request, services: Services, source: Source, options: JobOptions, *, pool: str, caller: Principal
) -> VoiceClip:
    """The voice of a clip, which is deleted."""
    job = await submitted(services, source, options, pool=pool, caller=caller)
    try:
        async with asyncio.timeout(WITHIN_S):
            record = await ended(request, services, job)
    except TimeoutError as error:
        raise AtCapacityError(
            f"The clip was not processed in {WITHIN_S} s, because the transcribers are busy; try again later"
        ) from error
    else:
        check_completed(record)
        return await services.jobs.voice(record) or VoiceClip(seconds=0.0, vector="")
    finally:
        remove_later(services, job)


def _name(upload: Upload) -> str:
    name = upload.one("name") or ""
    try:
        one_line(name)
    except ValueError as error:
        raise InvalidRequestError(f"name: {error}") from error
    if not 1 <= len(name) <= MAX_CHARS or "," in name or is_boolean(name):
        raise InvalidRequestError(
            f"Expected a name of 1 to {MAX_CHARS} characters without commas, and no word for true or false"
        )
    return name


@router.get("", responses=_ERRORS)
async def listed(caller: PrincipalDep, services: ServicesDep) -> dict[str, list[dict[str, Any]]]:
    """The known speakers of the caller's key, by name."""
    found = await services.known_speakers.all(caller.owner)
    return {"speakers": [document_of(speaker) for speaker in found]}


Name = Annotated[str, AfterValidator(one_line), Path(min_length=1, max_length=MAX_CHARS)]


@router.delete("/{name:path}", responses=_ONE)
async def remove(name: Name, caller: PrincipalDep, services: ServicesDep) -> dict[str, str]:
    """Delete a known speaker and the voice. Open sessions don't recognise it any more after some seconds."""
    if not await services.known_speakers.remove(caller.owner, name):
        raise KnownSpeakerNotFoundError(f"No known speaker is called {name!r}; GET /v1/speakers lists them")
    return {"name": name, "status": "deleted"}
