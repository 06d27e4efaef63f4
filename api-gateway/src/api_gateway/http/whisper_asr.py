"""`POST /asr` of whisper-asr-webservice, for media servers such as Bazarr (docs/dialects/whisper-asr.md).

A request is processed as a job, which is removed when it is answered or its client disconnects. Its file goes
to the blob store piece by piece.
"""

import asyncio
import struct
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api_gateway.auth import Principal
from api_gateway.dependencies import ServicesDep, authenticated
from api_gateway.doors.base import explain
from api_gateway.http.job_answers import check_completed, ended, kept, remove_later, submitted
from api_gateway.http.job_uploads import receive
from api_gateway.http.subtitle_rules import CueRulesDep
from api_gateway.presenters.whisper_asr import FORMATS
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.domain.decode_options import MOST_SPEAKERS
from parlando.domain.job_options import JobOptions, Priority
from parlando.domain.languages import MAX_CHOICE
from parlando.errors import InvalidRequestError

FILE_FIELD: Final = "audio_file"
ENDLESS: Final = 0xFFFFFFFF  # size in a WAV header whose length is unknown
WAV_HEAD: Final = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", ENDLESS, b"WAVE", b"fmt ", 16, 1, 1),
    *(SAMPLE_RATE, SAMPLE_RATE * BYTES_PER_SAMPLE, BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE, b"data", ENDLESS),
)
"""The header of 16 kHz mono s16le, for files that are sent without one (`encode=false`)."""

router = APIRouter(tags=["whisper-asr-webservice"])

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/plain": {}}},
    400: {"description": "The form or a parameter is invalid", **_PROBLEM},
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    408: {"description": "The body timed out", **_PROBLEM},
    413: {"description": "The file is too big", **_PROBLEM},
    415: {"description": "The audio can't be decoded", **_PROBLEM},
    422: {"description": "A parameter is invalid", **_PROBLEM},
    500: {"description": "The engine failed", **_PROBLEM},
    503: {"description": "No capacity, too many jobs are waiting, or Redis can't be reached", **_PROBLEM},
    507: {"description": "The blob store is full", **_PROBLEM},
}
_BODY: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FILE_FIELD],
                "properties": {FILE_FIELD: {"type": "string", "format": "binary"}},
            }
        }
    },
}

EncodeQuery = Annotated[
    bool, Query(description="`false`: the file is 16 kHz mono s16le without a header; else it is any file")
]


async def _caller(request: Request, key: str | None = None) -> Principal:
    """The caller, whose key may be in the path: Bazarr has an address to configure, but no key."""
    return await authenticated(request, key)


PathCallerDep = Annotated[Principal, Depends(_caller)]


@router.post("/asr", responses=_RESPONSES, openapi_extra={"requestBody": _BODY})
@router.post("/whisper-asr/{key}/asr", responses=_RESPONSES, openapi_extra={"requestBody": _BODY})
async def asr(
    request: Request,
    caller: PathCallerDep,
    services: ServicesDep,
    rules: CueRulesDep,
    task: Annotated[Literal["transcribe", "translate"], Query(description="`translate`: into English")] = (
        "transcribe"
    ),
    language: Annotated[str, Query(max_length=MAX_CHOICE, description="As in the native protocol")] = "",
    initial_prompt: Annotated[str, Query(max_length=2000)] = "",
    encode: EncodeQuery = True,
    output: Annotated[Literal["txt", "json", "srt", "vtt", "tsv"], Query()] = "txt",
    word_timestamps: Annotated[bool, Query(description="The JSON has words")] = False,
    diarize: Annotated[bool, Query(description="Segments have speakers")] = False,
    min_speakers: Annotated[int | None, Query(ge=1, le=MOST_SPEAKERS)] = None,
    max_speakers: Annotated[int | None, Query(ge=1, le=MOST_SPEAKERS)] = None,
) -> Response:
    """Transcribe a file, or translate it to English. Further parameters are ignored."""
    options = _options(
        task=task,
        prompt=initial_prompt,
        words=output in ("srt", "vtt") or (word_timestamps and output == "json"),
        diarize=diarize,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        **({"language": language} if language else {}),
    ).with_default_language(services.settings.default_language)
    upload = await receive(
        request,
        services.blobs,
        limit=await services.limits.admit_upload(caller.holder),
        file_fields=(FILE_FIELD, "file"),
        head=b"" if encode else WAV_HEAD,
    )
    if upload.source is None:
        raise InvalidRequestError(f"Expected a file in the form's field `{FILE_FIELD}`, but it is missing")
    async with kept(services, upload.source):
        pools = await services.admission.choose(options.languages, options.required_task)
    job = await submitted(services, upload.source, options, pool=pools[0].name, caller=caller)
    try:
        record = await ended(request, services, job)
        check_completed(record)
        transcript = await services.jobs.transcript(record)
        written = await asyncio.to_thread(FORMATS[output], transcript, rules)
    finally:
        remove_later(services, job)
    name = quote(f"{upload.source.name or FILE_FIELD}.{output}")
    headers = {"Asr-Engine": record.pool, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(written, media_type="text/plain; charset=utf-8", headers=headers)


def _options(**fields: Any) -> JobOptions:
    try:
        return JobOptions(priority=Priority.HIGH, **fields)
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error
