"""Routes of analyses: a file is transcribed and analysed, and each step is streamed; digests of sessions."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, Header
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, ReadingDep, Services, ServicesDep, note_of
from api_gateway.http.job_answers import kept, submitted
from api_gateway.http.job_uploads import Upload, receive
from api_gateway.http.jobs import first_problem, readable
from api_gateway.http.sse import stream
from api_gateway.presenters.session import iso
from parlando.domain.analysis import PHASES, TaskUpdate
from parlando.domain.decode_options import MOST_SPEAKERS
from parlando.domain.job_options import JobOptions, JobStatus
from parlando.errors import InvalidRequestError, JobEndedError, ParlandoError
from parlando.store.analysis_tasks import AnalysisTasks
from parlando.store.envelope import Envelope
from parlando.store.job_store import JobRecord
from parlando.store.relay import Relay
from parlando.tasks import finish

POLL_S: Final = 2.0  # between the updates of `/audio/process-stream`
CANCEL_S: Final = 10.0  # for cancelling the task of a client that has disconnected
OPTIONAL: Final = {"translation": "include_translation", "insights": "include_insights"}
"""Phases that are left out unless this field of the form is true."""
YES: Final = frozenset({"true", "1", "yes", "on"})
NO: Final = frozenset({"false", "0", "no", "off", ""})

log = structlog.get_logger(part="analysis")
router = APIRouter(tags=["analysis"])

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    422: {"description": "A parameter is invalid", **_PROBLEM},
    503: {"description": "No analyzer is running, or Redis can't be reached", **_PROBLEM},
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    404: {"description": "No such task", **_PROBLEM},
}
_EVENTS: Final[dict[str, Any]] = {"description": "Server-sent events", "content": {"text/event-stream": {}}}
_UPLOAD: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    200: _EVENTS,
    400: {"description": "The form is invalid, or has no file", **_PROBLEM},
    408: {"description": "The body timed out", **_PROBLEM},
    413: {"description": "The file is too big", **_PROBLEM},
    507: {"description": "The blob store is full", **_PROBLEM},
}
_BOOLEAN: Final = {"type": "boolean", "default": False}
_FORM: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["audio"],
                    "properties": {
                        "audio": {"type": "string", "format": "binary"},
                        "language": {"type": "string", "description": "As for jobs; none to detect it"},
                        "diarize": {**_BOOLEAN, "description": "Label the speakers"},
                        "speaker_count": {"type": "integer", "minimum": 1, "maximum": MOST_SPEAKERS},
                        "include_translation": _BOOLEAN,
                        "target_language": {"type": "string", "default": "en"},
                        "include_insights": _BOOLEAN,
                        "cancel_on_disconnect": {
                            **_BOOLEAN,
                            "description": "Cancel the task if this connection ends before it",
                        },
                    },
                }
            }
        },
    }
}


# --- files ----------------------------------------------------------------------------------------


@router.post(
    "/audio/process-stream-realtime",
    responses=_UPLOAD,
    openapi_extra=_FORM,
    response_class=StreamingResponse,
)
async def process_in_real_time(
    request: Request, caller: PrincipalDep, services: ServicesDep
) -> StreamingResponse:
    """Transcribe and analyse a file, and stream every update, with partial results, as soon as it exists.

    The task goes on if the client disconnects; `GET /audio/tasks/{id}/events` continues the stream.
    """
    job, cancels = await _begun(request, services, caller)
    frames = _updates(services, job, after=0)
    return _response(frames, request, services, job, cancels=cancels)


@router.post(
    "/audio/process-stream", responses=_UPLOAD, openapi_extra=_FORM, response_class=StreamingResponse
)
async def process(request: Request, caller: PrincipalDep, services: ServicesDep) -> StreamingResponse:
    """Transcribe and analyse a file, and stream the completed steps every 2 s, without partial results."""
    job, cancels = await _begun(request, services, caller)
    return _response(_polled(services, job), request, services, job, cancels=cancels)


async def _begun(request: Request, services: Services, caller: Principal) -> tuple[str, bool]:
    """Submit the form's file. Returns the task's id, and whether a disconnection cancels it."""
    await services.tasks.check(())
    upload = await receive(
        request,
        services.blobs,
        limit=await services.limits.admit_upload(caller.holder),
        file_fields=("audio", "file"),
    )
    if upload.source is None:
        raise InvalidRequestError("Expected a file in the form's field `audio`, but it is empty or missing")
    async with kept(services, upload.source):
        options = _options(upload).with_default_language(services.settings.default_language)
        cancels = _flag(upload, "cancel_on_disconnect")
        await services.tasks.check(options.steps)
        options, pool = await _placed(services, options)
    job = await submitted(services, upload.source, options, pool=pool, caller=caller, listed=True)
    return job, cancels


def _options(upload: Upload) -> JobOptions:
    steps = [
        step
        for phase in PHASES
        for step in phase.steps
        if phase.name not in OPTIONAL or _flag(upload, OPTIONAL[phase.name])
    ]
    fields: dict[str, Any] = {"analyze": ",".join(steps), "eager": True}
    for name in ("language", "target_language", "diarize", "speaker_count"):
        if (value := upload.one(name)) is not None:
            fields[name] = value
    try:
        return JobOptions.model_validate(fields)
    except ValidationError as error:
        raise InvalidRequestError(first_problem(error)) from error


def _flag(upload: Upload, name: str) -> bool:
    value = (upload.one(name) or "").lower()
    if value not in YES | NO:
        raise InvalidRequestError(f"{name}: expected true or false, but got {value[:40]!r}")
    return value in YES


async def _placed(services: Services, options: JobOptions) -> tuple[JobOptions, str]:
    """The options, and the pool that decodes the job: into English, an engine translates if one can."""
    if "translation" in options.steps and options.target_language == "en":
        translating = options.model_copy(update={"translations": "en"})
        try:
            pools = await services.admission.patient_pools(translating.languages, translating.required_task)
        except InvalidRequestError:
            log.info("translation.by_analyzer", reason="no running engine translates")
        else:
            return translating, pools[0]
    pools = await services.admission.patient_pools(options.languages, options.required_task)
    return options, pools[0]


# --- streams --------------------------------------------------------------------------------------


def _response(
    frames: AsyncGenerator[bytes], request: Request, services: Services, job: str, *, cancels: bool
) -> StreamingResponse:
    response = stream(_cancelling(frames, services, job) if cancels else frames)
    response.headers["X-Task-ID"] = job
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/audio/tasks/{job}"
    return response


async def _cancelling(frames: AsyncGenerator[bytes], services: Services, job: str) -> AsyncGenerator[bytes]:
    """The frames; cancels the task if their reader closes them before the end."""
    complete = False
    try:
        async with aclosing(frames):
            async for frame in frames:
                yield frame
        complete = True
    finally:
        if not complete:
            await finish(_left(services, job), within_s=CANCEL_S)


async def _left(services: Services, job: str) -> None:
    """Cancel the task of a client that has disconnected."""
    try:
        await _cancel(services, await services.jobs.record(job))
    except ParlandoError as error:
        log.warning("task.not_cancelled", job=job, error=error.message)


async def _cancel(services: Services, record: JobRecord) -> bool:
    """Cancel a task, whether it is being transcribed or analysed. Returns False if it has ended."""
    try:
        await services.tasks.cancel(record.job)
    except JobEndedError:
        return False
    if not record.status.ended:
        await services.jobs.cancel(record)
        await services.blobs.delete(record.source.blob)
    return True


def _frame(update: Envelope) -> bytes:
    """An update as a server-sent event without a name, so that `EventSource.onmessage` gets it."""
    identity = f"id: {update.seq}\n" if update.seq is not None else ""
    return f"{identity}data: ".encode() + update.raw + b"\n\n"


def _ends(update: Envelope) -> bool:
    return isinstance(update.message, TaskUpdate) and update.message.ends


async def _updates(services: Services, job: str, *, after: int) -> AsyncGenerator[bytes]:
    """All updates after number `after`, and partial results, to the last update."""
    yield b"retry: 2000\n\n"
    relay = Relay(services.tasks, services.channels, job, after=after, admitted=_known(services, job))
    async with relay:
        async for batch in relay.batches():
            yield b"".join(map(_frame, batch)) if batch else b": still here\n\n"
            if any(map(_ends, batch)):
                return
    yield _lost(job)


async def _polled(services: Services, job: str) -> AsyncGenerator[bytes]:
    """The kept updates, read every `POLL_S`."""
    after = 0
    while True:
        found = [Envelope(update) for update in await services.tasks.events(job, after=after)]
        yield b"".join(map(_frame, found)) if found else b": still here\n\n"
        if any(map(_ends, found)):
            return
        after = max([after, *(update.seq or 0 for update in found)])
        if not await _known(services, job)():
            yield _lost(job)
            return
        await asyncio.sleep(POLL_S)


def _known(services: Services, job: str) -> Callable[[], Awaitable[bool]]:
    """Whether the job exists: it may be deleted, or lost with Redis."""

    async def known() -> bool:
        try:
            return await services.jobs.known(job)
        except ParlandoError:
            return False

    return known


def _lost(job: str) -> bytes:
    """The last update of a task that does not exist any more."""
    update = TaskUpdate(
        task_id=job, step="cancelled", progress=100, message="The task was deleted, or Redis has lost it"
    )
    return _frame(Envelope(update.model_dump_json().encode()))


# --- tasks ----------------------------------------------------------------------------------------

TaskDep = Annotated[JobRecord, Depends(readable)]
TASK: Final = "/audio/tasks/{job_id}"


@router.get(TASK, responses=_ONE)
async def task(request: Request, record: TaskDep, services: ServicesDep) -> dict[str, Any]:
    """A task's last update, and its result when it is completed."""
    document = await _document(services.tasks, record)
    if document["result"] is None:
        note_of(request).skip()  # there is no text in the answer
    return document


async def _document(tasks: AnalysisTasks, record: JobRecord) -> dict[str, Any]:
    state = await tasks.state(record)
    last = state.last
    return {
        "task_id": record.job,
        "status": last.step if last and last.ends else "running" if last else "queued",
        "step": last.step if last else None,
        "progress": last.progress if last else 0,
        "message": last.message if last else "Waiting for an analyzer",
        "result": last.partial_result if last and last.step == "completed" else None,
        "steps": list(record.options.steps),
        "target_language": record.options.target_language,
        "filename": record.source.name or None,
        "created_at": iso(record.created_ms),
        "updated_at": last.timestamp if last else iso(record.created_ms),
        "updates": state.seq,
        "events_url": f"/audio/tasks/{record.job}/events",
        "job_url": f"/v1/stt/jobs/{record.job}",
    }


@router.get(
    f"{TASK}/events",
    responses={**_ONE, 200: _EVENTS, 204: {"description": "All updates were received"}},
    response_class=StreamingResponse,
)
async def task_events(
    record: TaskDep, services: ServicesDep, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """A task's updates after `Last-Event-ID`, and partial results, to the last update (for `EventSource`)."""
    state = await services.tasks.state(record)
    after = int(last_event_id) if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else 0
    if after > state.seq:
        after = 0  # of another task with this id
    if after == state.seq and state.last is not None and state.last.ends:
        return Response(status_code=204)  # `EventSource` doesn't reconnect after it
    return stream(_updates(services, record.job, after=after))


@router.delete(TASK, responses=_ONE)
async def delete_task(record: TaskDep, services: ServicesDep) -> dict[str, Any]:
    """Cancel a task, or delete one that has ended, with its transcript and results."""
    await services.tasks.state(record)  # it must be a task
    if await _cancel(services, record):
        return {"task_id": record.job, "status": JobStatus.CANCELLED.value}
    await services.jobs.forget(record)
    await services.blobs.delete(record.source.blob)
    return {"task_id": record.job, "status": "deleted"}


# --- sessions -------------------------------------------------------------------------------------


@router.post("/v1/stt/sessions/{sid}/digest", responses={**_ONE, 404: {"description": "No such session"}})
async def digest(reading: ReadingDep, services: ServicesDep) -> JSONResponse:
    """What the session's finals contain so far: topics, key sentences, entities, questions, action items."""
    await services.digests.check()
    return JSONResponse(await services.digests.ask("digest", {"session": reading.record.sid}))
