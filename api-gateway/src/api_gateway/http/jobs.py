"""Routes of jobs: submit a recorded file, read its progress, segments and result."""

import asyncio
from functools import partial
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query
from pydantic import ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep, TranslationQuery, note_of
from api_gateway.http.job_admission import REFUSED, source_at, submit_admitted
from api_gateway.http.job_uploads import discard, receive
from api_gateway.http.sse import annotations_from, respond, start_of
from api_gateway.http.subtitle_rules import CueRulesDep, SpeakersQuery, written
from api_gateway.http.upload_jobs import job_of_upload
from api_gateway.http.uploads import body_of
from api_gateway.presenters.job import document_of, job_of, whole_result
from parlando.domain.job_options import INTERNAL_FIELDS, JobOptions, JobStatus
from parlando.domain.subtitles import Format
from parlando.errors import (
    InvalidRequestError,
    JobNotReadyError,
)
from parlando.ids import (
    JOB_CURSOR_PATTERN,
    JOB_ID_PATTERN,
    UPLOAD_ID_PATTERN,
    job_id_for,
    new_job_id,
)
from parlando.store.job_store import JobRecord, Source, unknown
from parlando.store.relay import Relay

MAX_JSON: Final = 1 << 16  # bytes of a request without a file

router = APIRouter(prefix="/v1/stt/jobs", tags=["jobs"])

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_COMMON: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    422: {"description": "A parameter is invalid", **_PROBLEM},
    503: {"description": "Redis or the blob store can't be reached", **_PROBLEM},
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    **_COMMON,
    404: {"description": "No such job", **_PROBLEM},
}


class JobWithoutFile(JobOptions):
    """A job whose file is a complete upload, or is fetched from a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload: str | None = Field(
        None, pattern=UPLOAD_ID_PATTERN, description="Id of a complete upload (/v1/uploads)"
    )
    url: str | None = Field(None, max_length=2000, description="URL of the file; needs ALLOW_URL_FETCH=1")


def _schema(**more: Any) -> dict[str, Any]:
    """The JSON schema of a request: the required fields `more`, and the options."""
    schema = JobOptions.model_json_schema()
    fields = {name: field for name, field in schema["properties"].items() if name not in INTERNAL_FIELDS}
    fields["priority"] = {**schema["$defs"]["Priority"], "default": "normal"}
    return {"type": "object", "required": [*more], "properties": {**more, **fields}}


_BODY: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _schema(file={"type": "string", "format": "binary"})},
        "application/json": {
            "schema": {
                "anyOf": [
                    _schema(url={"type": "string", "maxLength": 2000}),
                    _schema(upload={"type": "string", "pattern": UPLOAD_ID_PATTERN}),
                ]
            }
        },
    },
}


async def readable(
    job_id: Annotated[str, Path(pattern=JOB_ID_PATTERN)], caller: PrincipalDep, services: ServicesDep
) -> JobRecord:
    """A job of the caller's own. Raises `JobNotFoundError` for those of other keys too."""
    record = await services.jobs.record(job_id)
    if record.key != caller.owner:
        raise unknown(job_id)
    return record


JobDep = Annotated[JobRecord, Depends(readable)]


@router.post(
    "",
    status_code=202,
    responses={
        **_COMMON,
        400: {"description": "The request is invalid", **_PROBLEM},
        404: {"description": "No such upload", **_PROBLEM},
        408: {"description": "The body timed out", **_PROBLEM},
        409: {
            "description": "The Idempotency-Key or upload was used otherwise, or is incomplete",
            **_PROBLEM,
        },
        413: {"description": "The file is too big", **_PROBLEM},
        507: {"description": "The blob store is full", **_PROBLEM},
    },
    openapi_extra={"requestBody": _BODY},
)
async def submit(
    request: Request,
    caller: PrincipalDep,
    services: ServicesDep,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> JSONResponse:
    """Submit a file (multipart, `file`), a complete upload or the URL of a file (JSON, `upload` or `url`).

    A repeat with the same `Idempotency-Key`, or of the same upload, returns the first job.
    """
    job = job_id_for(caller.owner, idempotency_key) if idempotency_key else new_job_id()
    if request.headers.get("content-type", "").startswith("application/json"):
        wanted = await _without_file(request)
        options = _plain(wanted)
        if wanted.upload:
            record = await _of_upload(services, caller, wanted.upload, options, idempotency_key)
            return JSONResponse(job_of(record, base=str(request.base_url).rstrip("/")), 202)
        source = await _from_url(wanted.url or "", services, caller)
    else:
        source, options = await _from_form(request, services, caller, repeats=bool(idempotency_key))
    options = options.with_default_language(services.settings.default_language)
    try:
        pool = await _check(services, options)
    except BaseException:  # also if the client disconnects meanwhile
        await discard(services.blobs, source.blob)
        raise
    try:
        await submit_admitted(services, job, source, options, pool=pool, caller=caller)
    except REFUSED:  # after any other error the job may be queued and need its file
        await discard(services.blobs, source.blob)
        raise
    record = await services.jobs.record(job)
    if record.source.blob != source.blob:  # a repeat: this job was submitted before
        await discard(services.blobs, source.blob)
    return JSONResponse(job_of(record, base=str(request.base_url).rstrip("/")), 202)


async def _from_form(
    request: Request, services: Services, caller: Principal, *, repeats: bool
) -> tuple[Source, JobOptions]:
    """`repeats`: the request may be a repeat, which no quota refuses."""
    limits = services.limits
    if repeats:
        limit = limits.upload_bytes(caller.holder)
    else:
        limit = await limits.admit_upload(caller.holder)
    upload = await receive(request, services.blobs, limit=limit)
    if upload.source is None:
        raise InvalidRequestError("Expected a file in the form's field `file`, but it is empty or missing")
    try:
        return upload.source, _options({name: values[-1] for name, values in upload.fields.items()})
    except InvalidRequestError:
        await services.blobs.delete(upload.source.blob)
        raise


async def _without_file(request: Request) -> JobWithoutFile:
    try:
        body = orjson.loads(await body_of(request, MAX_JSON))
        job = JobWithoutFile.model_validate(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Expected JSON, but {error}") from error
    except ValidationError as error:
        raise InvalidRequestError(first_problem(error)) from error
    if (job.upload is None) == (job.url is None):
        raise InvalidRequestError("Expected either `upload` or `url`")
    return job


def _plain(job: JobWithoutFile) -> JobOptions:
    return JobOptions(**job.model_dump(exclude={"url", "upload", *INTERNAL_FIELDS}, exclude_unset=True))


async def _of_upload(
    services: Services, caller: Principal, upload: str, options: JobOptions, idempotency_key: str | None
) -> JobRecord:
    """Submit the job of an upload, or find the one that was submitted before."""
    options = options.with_default_language(services.settings.default_language)
    pool = await _check(services, options)
    name = idempotency_key or f"upload:{upload}"
    return await job_of_upload(
        services, caller, upload, options, job=job_id_for(caller.owner, name), pool=pool
    )


async def _from_url(url: str, services: Services, caller: Principal) -> Source:
    if not services.settings.allow_url_fetch:
        raise InvalidRequestError(
            "Expected a file, but got a URL; this gateway fetches URLs only with ALLOW_URL_FETCH=1"
        )
    return await source_at(url, services, caller)


def _options(fields: dict[str, str]) -> JobOptions:
    try:
        return JobOptions.model_validate(
            {k: v for k, v in fields.items() if v != "" and k not in INTERNAL_FIELDS}
        )
    except ValidationError as error:
        raise InvalidRequestError(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """The first invalid field, and what is wrong with it."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "body"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"


async def _check(services: Services, options: JobOptions) -> str:
    """Check the options. Returns the pool that decodes the job."""
    pools = await services.admission.patient_pools(options.languages, options.required_task)
    if options.steps:
        await services.tasks.check(options.steps)
    if options.callback_url:
        await services.outbound.check(options.callback_url)
    return pools[0]


@router.get("", responses=_COMMON)
async def listed(
    request: Request,
    caller: PrincipalDep,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    before: Annotated[
        str | None, Query(pattern=JOB_CURSOR_PATTERN, description="`next` of the previous page")
    ] = None,
) -> dict[str, Any]:
    """The caller's jobs, newest first."""
    page = await services.jobs.newest(caller.owner, before=before, limit=limit)
    base = str(request.base_url).rstrip("/")
    return {
        "jobs": [job_of(record, base=base) for record in page.records],
        "next": page.next,
    }


@router.get("/{job_id}", responses=_ONE)
async def job(request: Request, record: JobDep, services: ServicesDep) -> Response:
    """A job's status, and its result if it is completed."""
    if record.status is not JobStatus.COMPLETED:
        note_of(request).skip()  # there is no text in the answer
    return await _json(await document_of(services.jobs, record, base=str(request.base_url).rstrip("/")))


@router.delete("/{job_id}", responses=_ONE)
async def delete(record: JobDep, services: ServicesDep) -> dict[str, Any]:
    """Cancel a job, or delete one that has ended. Its audio and its result are removed."""
    if record.status.ended:
        await services.jobs.forget(record)
        status = "deleted"
    else:
        await services.jobs.cancel(record)
        status = JobStatus.CANCELLED.value
    await services.blobs.delete(record.source.blob)
    return {"job_id": record.job, "status": status}


@router.get(
    "/{job_id}/events",
    responses={**_ONE, 200: {"content": {"text/event-stream": {}}}},
    response_class=StreamingResponse,
)
async def events(
    record: JobDep,
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header()] = None,
    annotations: Annotated[bool, Query(description="Include annotations")] = False,
) -> StreamingResponse:
    """Server-sent events after `Last-Event-ID`: progress, segments in their order, and the end."""
    start = start_of(
        last_event_id,
        newest=record.seq,
        epoch=record.created_ms,  # an earlier job may have had the id, under the same Idempotency-Key
        annotations=annotations,
        trusts_plain=True,
    )
    job = record.job
    relay = Relay(
        services.history,
        services.channels,
        job,
        after=start.position.seq,
        annotations=annotations_from(services, services.annotations.of_job(job), start),
        admitted=partial(services.jobs.known, job),
    )
    return respond(relay, start)


@router.get(
    "/{job_id}/result",
    responses={
        **_ONE,
        200: {"content": {"application/json": {}, "text/plain": {}, "text/vtt": {}}},
        409: {"description": "There is no result (yet); `detail` has the reason", **_PROBLEM},
    },
)
async def result(
    record: JobDep,
    services: ServicesDep,
    rules: CueRulesDep,
    form: Annotated[Format, Query(alias="format")] = Format.JSON,
    annotations: Annotated[bool, Query(description="Include annotations (format=json only)")] = False,
    translation: TranslationQuery = None,
    speakers: SpeakersQuery = True,
) -> Response:
    """The result of a completed job."""
    if record.status is not JobStatus.COMPLETED:
        reason = f": {record.error['message']}" if record.error else ""
        raise JobNotReadyError(f"Job {record.job} is {record.status.value}{reason}")
    transcript = await services.jobs.transcript(record)
    if translation:
        transcript = transcript.translated(translation)
    if form is Format.JSON:
        body = await whole_result(record, transcript)
        if annotations:
            body["annotations"] = await services.annotations.dumped(services.annotations.of_job(record.job))
        return await _json(body)
    transcript = transcript.model_copy(update={"title": record.source.name or None})
    return await written(transcript, form, rules, speakers=speakers)


async def _json(body: dict[str, Any]) -> Response:
    """A response whose body may have many megabytes: encoded in a thread."""
    return Response(await asyncio.to_thread(orjson.dumps, body), media_type="application/json")
