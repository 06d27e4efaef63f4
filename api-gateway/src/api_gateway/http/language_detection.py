"""`POST /v1/detect-language`: the language of a file. `/detect-language` is for whisper-asr's clients.

A request is processed as a job with the task `detect_language`, which is removed when it is answered.
"""

from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.job_answers import check_completed, ended, kept, remove_later, submitted
from api_gateway.http.job_uploads import Upload, receive
from api_gateway.http.whisper_asr import WAV_HEAD, EncodeQuery, PathCallerDep
from parlando.domain.job_options import JobOptions, Priority
from parlando.domain.languages import NAMES
from parlando.errors import InvalidRequestError, NoSpeechError
from parlando.store.job_store import JobRecord

FILE_FIELDS: Final = frozenset({"file", "audio_file"})

router = APIRouter(tags=["languages"])

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The form is invalid, or no engine can detect languages", **_PROBLEM},
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    408: {"description": "The body timed out", **_PROBLEM},
    413: {"description": "The file is too big", **_PROBLEM},
    415: {"description": "The audio can't be decoded", **_PROBLEM},
    422: {"description": "There is no speech in the file", **_PROBLEM},
    500: {"description": "The engine failed", **_PROBLEM},
    503: {"description": "No capacity, too many jobs are waiting, or Redis can't be reached", **_PROBLEM},
    507: {"description": "The blob store is full", **_PROBLEM},
}
_FOR_WHISPER_ASR: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    422: {"description": "There is no speech in the file (an empty object), or a parameter is invalid"},
}
_BODY: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "Any audio or video file; the field may also be called audio_file",
                    },
                    "language": {
                        "type": "string",
                        "description": "Languages that are possible, separated by commas; none for any",
                    },
                },
            }
        }
    },
}


class DetectedLanguage(BaseModel):
    """The language of a file."""

    detected_language: str = Field(description="Its English name in lower case", examples=["german"])
    language_code: str = Field(description="ISO 639-1", examples=["de"])
    confidence: float = Field(description="From 0 to 1; below 0.6 it is a guess", examples=[0.97])


@router.post("/v1/detect-language", responses=_ERRORS, openapi_extra={"requestBody": _BODY})
async def detect_language(
    request: Request, caller: PrincipalDep, services: ServicesDep, encode: EncodeQuery = True
) -> DetectedLanguage:
    """Detect the language of a file, in the first 28 s from its first speech on."""
    return await _detect(request, caller, services, head=b"" if encode else WAV_HEAD)


@router.post(
    "/detect-language",
    responses=_FOR_WHISPER_ASR,
    response_model=DetectedLanguage,
    openapi_extra={"requestBody": _BODY},
)
@router.post(
    "/whisper-asr/{key}/detect-language",
    responses=_FOR_WHISPER_ASR,
    response_model=DetectedLanguage,
    openapi_extra={"requestBody": _BODY},
)
async def detect_language_for_whisper_asr(
    request: Request, caller: PathCallerDep, services: ServicesDep, encode: EncodeQuery = True
) -> DetectedLanguage | JSONResponse:
    """The same, as whisper-asr-webservice has it. Bazarr takes an empty object for a file without speech."""
    try:
        return await _detect(request, caller, services, head=b"" if encode else WAV_HEAD)
    except NoSpeechError:
        return JSONResponse({}, 422)


async def _detect(
    request: Request, caller: Principal, services: Services, *, head: bytes
) -> DetectedLanguage:
    upload = await receive(
        request,
        services.blobs,
        limit=await services.limits.admit_upload(caller.holder),
        file_fields=FILE_FIELDS,
        head=head,
    )
    if upload.source is None:
        raise InvalidRequestError("Expected a file in the form's field `file`, but it is empty or missing")
    async with kept(services, upload.source):
        options = _options(upload)
        pools = await services.admission.choose(options.languages, options.task)
    job = await submitted(services, upload.source, options, pool=pools[0].name, caller=caller)
    try:
        return await _result(services, await ended(request, services, job))
    finally:
        remove_later(services, job)


def _options(upload: Upload) -> JobOptions:
    try:
        return JobOptions(language=upload.one("language"), task="detect_language", priority=Priority.HIGH)
    except ValidationError as error:
        raise InvalidRequestError(f"language: {error.errors()[0]['msg']}") from error


async def _result(services: Services, record: JobRecord) -> DetectedLanguage:
    check_completed(record)
    async for segment in services.jobs.segments(record.job):
        if segment.language is not None:
            name = NAMES.get(segment.language, segment.language)
            return DetectedLanguage(
                detected_language=name,
                language_code=segment.language,
                confidence=round(segment.confidence or 0.0, 4),
            )
    raise NoSpeechError("Expected a file with speech, but none was found in it")
