"""Deepgram's REST API: recorded files, and temporary tokens.

A file is processed as a job, which is removed when it is answered or its client disconnects.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from api_gateway.auth import Principal, handshake_of
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.doors.base import explain
from api_gateway.doors.deepgram_options import (
    CONTAINED,
    Query,
    format_of,
    language_of,
    not_honoured_of,
    style_of,
    vocabulary,
)
from api_gateway.http.job_admission import source_at
from api_gateway.http.job_answers import ended, remove_later, submitted
from api_gateway.http.job_uploads import receive_body
from api_gateway.http.uploads import body_of, model_of
from api_gateway.presenters.deepgram_file import Presentation, response_of
from parlando.domain.access import Scope
from parlando.domain.audio import Encoding
from parlando.domain.formats import AudioFormat
from parlando.domain.job_options import JobOptions, Priority
from parlando.errors import InvalidRequestError
from parlando.store.job_store import Source

MAX_JSON: Final = 1 << 16  # bytes of a request with a URL
UTTERANCE_GAP_S: Final = 0.8
MAX_EXTRA: Final = 2048  # characters of all `extra` values
PREFIX: Final = "dg_"
TOKEN_S: Final = 30
LONGEST_TOKEN_S: Final = 3600
ENDLESS: Final = 0xFFFFFFFF  # size in a WAV header whose length is unknown

router = APIRouter(tags=["Deepgram"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "A parameter or the URL is invalid, or the audio can't be decoded"},
    401: {"description": "Missing or invalid API key"},
    402: {"description": "The quota of audio of the key or owner is used up"},
    408: {"description": "The body timed out"},
    413: {"description": "The file is too big"},
    429: {"description": "No capacity, too many jobs are waiting, or a limit of the key or owner"},
    500: {"description": "The engine failed"},
    503: {"description": "Redis can't be reached"},
    507: {"description": "The blob store is full"},
}
_BODY: Final = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["url"],
                "properties": {"url": {"type": "string", "maxLength": 2000}},
            }
        },
    },
}


@dataclass(frozen=True, slots=True)
class FileOptions:
    """The parsed parameters of `POST /v1/listen`. `form`: of raw audio without a header; None for a file."""

    options: JobOptions
    form: AudioFormat | None
    presentation: Presentation


def file_options(query: Query) -> FileOptions:
    """Parse the parameters. Raises `InvalidRequestError`."""
    callback, method = query.text("callback"), query.text("callback_method")
    if method is not None and method.upper() != "POST":
        raise InvalidRequestError(f"callback_method: expected POST, but got {method[:40]!r}")
    encoding = query.text("encoding")
    form = None if encoding is None or encoding in CONTAINED else format_of(query)
    detect = query.flag("detect_language")
    paragraphs = query.flag("paragraphs")
    diarize = query.flag("diarize") or bool(query.text("diarize_model"))
    reported: list[tuple[str, str]] = []
    utterances = query.flag("utterances")
    gap = query.decimal("utt_split", 0.0, 60.0)
    multichannel = query.flag("multichannel")
    style = style_of(query, diarize=diarize, paragraphs=paragraphs)
    query.text("model")
    if query.text("version") not in (None, "latest"):
        reported.append(("version", "the installed model is used"))
    language, hotwords = language_of(query, detect=detect), vocabulary(query)
    presentation = Presentation(
        punctuated=style.punctuated,
        speakers=style.speakers,
        languages=style.languages,
        utterance_gap_s=(UTTERANCE_GAP_S if gap is None else gap) if utterances else None,
        paragraphs=paragraphs,
        detected=detect,
        extra=_extra(query),
        tags=tuple(query.many("tag")),
        not_honoured=(*reported, *not_honoured_of(query)),
    )
    try:
        options = JobOptions(
            language=language,
            hotwords=hotwords,
            words=True,
            diarize=diarize,
            channels="split" if multichannel else "mix",
            priority=Priority.HIGH,
            callback_url=callback,
            presentation=presentation.model_dump_json(exclude_defaults=True) if callback else "",
        )
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error
    return FileOptions(options, form, presentation)


def _extra(query: Query) -> dict[str, str]:
    values = query.many("extra")
    if sum(map(len, values)) > MAX_EXTRA:
        raise InvalidRequestError(f"extra: expected at most {MAX_EXTRA} characters in all")
    return {name: value for name, _, value in (pair.partition(":") for pair in values)}


def wav_head(form: AudioFormat) -> bytes:
    """The header of a WAV file of raw audio in `form`, without a length."""
    tags = {Encoding.PCM_S16LE: 1, Encoding.PCM_F32LE: 3, Encoding.ALAW: 6, Encoding.MULAW: 7}
    width = form.frame_bytes // form.channels
    fields = (tags[form.encoding], form.channels, form.sample_rate, form.sample_rate * form.frame_bytes)
    described = struct.pack("<HHIIHH", *fields, form.frame_bytes, 8 * width)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", ENDLESS, b"WAVE", b"fmt ", len(described))
        + described
        + struct.pack("<4sI", b"data", ENDLESS)
    )


@router.post("/v1/listen", responses=_ERRORS, openapi_extra={"requestBody": _BODY})
async def listen(request: Request, caller: PrincipalDep, services: ServicesDep) -> JSONResponse:
    """Transcribe a recorded file: the body, or the file at a URL (JSON, `url`).

    With `callback` the response is `{"request_id"}`, and that URL receives the result as a POST.
    """
    params = file_options(Query(handshake_of(request)))
    callback = params.options.callback_url
    if callback:
        await services.outbound.check(callback)
    pool = (await services.admission.choose(params.options.languages))[0].name
    if request.headers.get("content-type", "").startswith("application/json"):
        source = await _from_url(request, services, caller)
    else:
        source = await _from_body(request, services, caller, params)
    job = await submitted(
        services, source, params.options, pool=pool, caller=caller, listed=callback is not None
    )
    if callback:
        return JSONResponse({"request_id": job})
    try:
        record = await ended(request, services, job)
        transcript = await services.jobs.transcript(record)
        return JSONResponse(response_of(record, transcript, params.presentation))
    finally:
        remove_later(services, job)


async def _from_body(request: Request, services: Services, caller: Principal, params: FileOptions) -> Source:
    form = params.form

    def head(first: bytes) -> bytes:
        return wav_head(form) if form is not None and not first.startswith(b"RIFF") else b""

    limit = await services.limits.admit_upload(caller.holder)
    source = await receive_body(request, services.blobs, limit=limit, head=head)
    if source is None:
        raise InvalidRequestError("Expected audio in the body, or JSON with a url, but the body is empty")
    return source


class _Url(BaseModel):
    model_config = ConfigDict(extra="ignore")

    url: str = Field(max_length=2000)


async def _from_url(request: Request, services: Services, caller: Principal) -> Source:
    try:
        url = _Url.model_validate(orjson.loads(await body_of(request, MAX_JSON))).url
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Expected JSON, but {error}") from error
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error
    if not services.settings.allow_url_fetch:
        raise InvalidRequestError(
            "Expected audio in the body, but got a URL; this gateway fetches URLs only with ALLOW_URL_FETCH=1"
        )
    return await source_at(url, services, caller)


class _GrantRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    ttl_seconds: float = Field(TOKEN_S, ge=1, le=LONGEST_TOKEN_S)


@router.post("/v1/auth/grant", responses={401: _ERRORS[401], 503: _ERRORS[503]})
async def grant(request: Request, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Make a token that stands for the caller's key for `ttl_seconds`: `Authorization: Bearer <token>`."""
    body = await model_of(request, _GrantRequest)
    scopes = caller.scopes & {Scope.LIVE, Scope.JOBS}
    token, _ = await services.access.issue(caller, round(body.ttl_seconds), scopes=scopes, prefix=PREFIX)
    return {"access_token": token, "expires_in": body.ttl_seconds}
