"""OpenAI's REST API: transcriptions, translations, models.

A request is processed as a job, which is removed when it is answered or its client disconnects.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.job_answers import ended, kept, relay_of, remove_later, submitted
from api_gateway.http.job_uploads import Upload, receive
from api_gateway.http.sse import ENDS, stream
from api_gateway.http.subtitle_rules import FIELDS, SCHEMA, rules_of
from api_gateway.presenters import openai
from api_gateway.presenters.job import whole_seconds
from api_gateway.presenters.openai import ParamError
from api_gateway.presenters.problem import openai_answer
from parlando.domain import languages
from parlando.domain.cues import CueRules
from parlando.domain.job_options import MAX_TRACK, JobOptions, JobStatus, Priority
from parlando.domain.pools import NoPoolError, Pool, capable
from parlando.domain.transcript import FinalSegment, Transcript
from parlando.errors import (
    AtCapacityError,
    EngineError,
    JobNotFoundError,
    ParlandoError,
)
from parlando.store.job_store import JobRecord

MIN_SAMPLES: Final = 1600  # a tenth of a second
FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
OWNER: Final = "parlando"
CREATED: Final = 1_763_596_800  # `created` of all models, unix seconds

router = APIRouter(tags=["OpenAI"])


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {}}}


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: _error("A parameter or the file is invalid"),
    401: _error("Missing or invalid API key"),
    404: _error("No such model"),
    408: _error("The body timed out"),
    413: _error("The file is too big"),
    429: _error("Too many jobs are waiting, or no capacity"),
    500: _error("The engine failed"),
    503: _error("Redis can't be reached"),
    507: _error("The blob store is full"),
}
_BODY: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "model": {"type": "string"},
                    "language": {"type": "string"},
                    "prompt": {"type": "string"},
                    "hotwords": {"type": "string", "maxLength": 1000},
                    "track": {"type": "integer", "minimum": 1, "maximum": MAX_TRACK},
                    "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
                    "temperature": {"type": "number", "minimum": 0, "maximum": 1},
                    "timestamp_granularities[]": {
                        "type": "array",
                        "items": {"type": "string", "enum": ["word", "segment"]},
                    },
                    "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
                    "stream": {"type": "boolean"},
                    **SCHEMA,
                },
            }
        }
    },
}


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """The parsed fields of a request. `granularities`: those that it names."""

    options: JobOptions
    form: str
    stream: bool
    logprobs: bool
    granularities: tuple[str, ...]
    rules: CueRules
    speakers: tuple[str, ...]


def request_of(
    upload: Upload, task: Literal["transcribe", "translate"], *, default_language: str | None = None
) -> TranscriptionRequest:
    """Parse a form's fields. `default_language`: of a form without one. Raises `ParamError`."""
    form = upload.one("response_format") or "json"
    if form not in FORMATS:
        raise ParamError(f"Expected one of {', '.join(FORMATS)}, but got {form[:40]!r}", "response_format")
    granularities = tuple(upload.many("timestamp_granularities"))
    if unknown := set(granularities) - {"word", "segment"}:
        raise ParamError(
            f"Expected word or segment, but got {min(unknown)[:40]!r}", "timestamp_granularities"
        )
    include = upload.many("include")
    if unknown := set(include) - {"logprobs"}:
        raise ParamError(f"Expected logprobs, but got {min(unknown)[:40]!r}", "include")
    stream = upload.one("stream") or "false"
    if stream.lower() not in ("true", "false", "1", "0"):
        raise ParamError(f"Expected true or false, but got {stream[:40]!r}", "stream")
    _check_temperature(upload.one("temperature"))
    streams = stream.lower() in ("true", "1")
    options = JobOptions(
        **_language(upload),
        hotwords=(upload.one("hotwords") or "")[:1000],
        prompt=" ".join([upload.one("prompt") or "", ", ".join(upload.many("keywords"))]).strip()[:2000],
        words=form in ("srt", "vtt") or "word" in granularities or "logprobs" in include,
        task=task,
        channels=_choice(upload, "channels", ("mix", "split")),
        diarize=form == "diarized_json",
        track=_track(upload.one("track")),
        priority=Priority.HIGH,
        eager=streams,
    )
    return TranscriptionRequest(
        options.with_default_language(default_language),
        form,
        streams,
        "logprobs" in include,
        granularities,
        rules_of({name: upload.one(name) for name in FIELDS}),
        tuple(upload.many("known_speaker_names")),
    )


def _choice(upload: Upload, name: str, choices: tuple[str, ...]) -> str:
    """A field of the form that has one of `choices`; the first one by default. Raises `ParamError`."""
    given = upload.one(name) or choices[0]
    if given not in choices:
        raise ParamError(f"Expected {' or '.join(choices)}, but got {given[:40]!r}", name)
    return given


def _language(upload: Upload) -> dict[str, str | None]:
    """The field `language` of the options, if the form has `language` or the list `languages`."""
    given = upload.one("language") or ",".join(upload.many("languages"))
    try:
        return {"language": languages.choice_of(given)} if given else {}
    except ValueError as error:
        raise ParamError(f"language: {error}", "language") from error


def _track(given: str | None) -> int | None:
    """The number of the audio track, if the form has one."""
    if given is None:
        return None
    if not given.isascii() or not given.isdecimal() or not 1 <= int(given[:9]) <= MAX_TRACK:
        raise ParamError(f"Expected the number of an audio track, from 1, but got {given[:40]!r}", "track")
    return int(given[:9])


def _check_temperature(given: str | None) -> None:
    try:
        fits = given is None or 0 <= float(given) <= 1
    except ValueError:
        fits = False
    if not fits:
        raise ParamError(f"Expected a number from 0 to 1, but got {str(given)[:40]!r}", "temperature")


@router.post(
    "/v1/audio/transcriptions",
    responses={
        **ERRORS,
        200: {"content": {"application/json": {}, "text/plain": {}, "text/event-stream": {}}},
    },
    openapi_extra={"requestBody": _BODY},
)
async def transcriptions(request: Request, caller: PrincipalDep, services: ServicesDep) -> Response:
    """Transcribe a file."""
    return await _answer(request, services, caller, "transcribe")


@router.post(
    "/v1/audio/translations",
    responses={**ERRORS, 200: {"content": {"application/json": {}, "text/plain": {}}}},
    openapi_extra={"requestBody": _BODY},
)
async def translations(request: Request, caller: PrincipalDep, services: ServicesDep) -> Response:
    """Translate a file to English. Needs an engine that can translate."""
    return await _answer(request, services, caller, "translate")


async def _answer(
    request: Request, services: Services, caller: Principal, task: Literal["transcribe", "translate"]
) -> Response:
    upload = await receive(request, services.blobs, limit=await services.limits.admit_upload(caller.holder))
    if upload.source is None:
        raise ParamError("Expected a file, but it is empty or missing", "file")
    async with kept(services, upload.source):
        params = request_of(upload, task, default_language=services.settings.default_language)
        pool = await pool_for(services, upload.one("model"), params.options)
    job = await submitted(services, upload.source, params.options, pool=pool.name, caller=caller)
    if params.stream:
        return stream(_stream(services, job, params))
    try:
        record = await _ended(request, services, job)
        return await _written(record, await services.jobs.transcript(record), params)
    finally:
        remove_later(services, job)


async def pool_for(services: Services, model: str | None, options: JobOptions) -> Pool:
    """The pool that processes the request: the one named `model`, or the preferred one for an alias.

    Raises
    ------
    ParamError, InvalidRequestError, AtCapacityError

    """
    pools = await services.admission.pools()
    if not pools:
        raise AtCapacityError("No transcriber is running; start one, or try again in a few seconds")
    named = [pool for pool in pools if pool.name == model]
    if model is not None and not named and "*" not in services.settings.model_names:
        known = [*(pool.name for pool in pools), *services.settings.model_names]
        if model not in known:
            if any(pool.name == model for pool in await services.admission.restarting()):
                raise AtCapacityError(
                    f"No transcriber of the pool {model} is running; start one, or try again in a few seconds"
                )
            raise _unknown(model, known)
    try:
        return capable(named or pools, options.languages, options.required_task, ())[0]
    except NoPoolError as error:
        if not named:
            await services.admission.check_restarting(options.languages, options.required_task)
        if error.lacking != "language":
            raise
        raise ParamError(error.message, "language") from error


def _unknown(model: str, known: Sequence[str]) -> ParamError:
    """The error for a model name that isn't one of the `known`, such as one of another server."""
    return ParamError(
        f"The model {model[:80]!r} does not exist here; use one of: {', '.join(known)}. If clients can't be "
        "changed, start the gateway with MODEL_ALIASES=* and every other name stands for the default model",
        "model",
        code="model_not_found",
    )


async def _ended(request: Request, services: Services, job: str) -> JobRecord:
    """Wait for the job's end. Raises its failure, and `ClientDisconnect`."""
    record = await ended(request, services, job)
    check_ended(record)
    return record


def check_ended(record: JobRecord) -> None:
    """Check a job that has ended. Raises its failure, or `ParamError` if its audio is too short."""
    if record.status is JobStatus.FAILED:
        failure = record.error or {"code": "internal", "message": "The job failed"}
        if failure["code"] in ("invalid_audio", "too_long"):
            raise ParamError(failure["message"], "file", code=failure["code"])
        raise EngineError(failure["message"])
    if record.status is JobStatus.COMPLETED and record.duration < MIN_SAMPLES:
        raise ParamError(
            "Audio file is too short. Minimum audio length is 0.1 seconds.", "file", code="audio_too_short"
        )


async def _written(record: JobRecord, transcript: Transcript, params: TranscriptionRequest) -> Response:
    usage = {"usage": openai.usage(whole_seconds(record))}
    match params.form:
        case "json":
            more: dict[str, Any] = {}
            if params.logprobs:
                more["logprobs"] = openai.logprobs(transcript.segments)
            more |= openai.times(transcript.segments, params.granularities)
            return JSONResponse({"text": transcript.text, **more, **usage})
        case "verbose_json":
            granularities = params.granularities or ("segment",)
            body = openai.verbose_json(transcript, task=record.options.task, granularities=granularities)
            if record.options.task == "translate":
                body["language"] = "english"
            return JSONResponse({**body, **usage})
        case "diarized_json":
            return JSONResponse({**openai.diarized_json(transcript, params.speakers), **usage})
        case form:
            media_type, write = openai.FORMATS[form]
            text = await asyncio.to_thread(write, transcript, params.rules)
            return Response(text, media_type=media_type)


# --- streaming --------------------------------------------------------------------------------------


async def _stream(services: Services, job: str, params: TranscriptionRequest) -> AsyncGenerator[bytes]:
    """Server-sent events while the audio is decoded; the joined deltas are the text of the last event."""
    text = ""
    segments: list[FinalSegment] = []
    try:
        async with relay_of(services, job) as relay:
            async for batch in relay.batches():
                if not batch:
                    yield b": still here\n\n"
                for message in batch:
                    for raw in getattr(message.message, "segments", ()):
                        segment = FinalSegment(segment=len(segments), **raw)
                        delta = segment.text if not text else f" {segment.text}"
                        yield _frame(_delta(segment, delta, first=not text, params=params))
                        text += delta
                        segments.append(segment)
                    if message.type in ENDS:
                        if message.type == "completed" and params.form == "diarized_json":
                            yield await _speakers(services, job, params)
                        yield await _last(services, job, text, segments, params)
                        return
    except JobNotFoundError:
        yield await _last(services, job, text, segments, params)
    finally:
        remove_later(services, job)


async def _speakers(services: Services, job: str, params: TranscriptionRequest) -> bytes:
    """The segments with their speakers, which are known when the whole recording has been processed."""
    transcript = await services.jobs.transcript(await services.jobs.record(job))
    body = openai.diarized_json(transcript, params.speakers)
    return b"".join(map(_frame, body["segments"]))


def _delta(segment: FinalSegment, delta: str, *, first: bool, params: TranscriptionRequest) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "transcript.text.delta", "delta": delta}
    if params.logprobs:
        event["logprobs"] = openai.logprobs([segment], first=first)
    return event


async def _last(
    services: Services, job: str, text: str, segments: list[FinalSegment], params: TranscriptionRequest
) -> bytes:
    try:
        record = await services.jobs.record(job)
        check_ended(record)
    except ParlandoError as error:
        return b"data: %s\n\n" % bytes(openai_answer(error).body)
    done: dict[str, Any] = {"type": "transcript.text.done", "text": text}
    if params.logprobs:
        done["logprobs"] = openai.logprobs(segments)
    done |= openai.times(segments, params.granularities)
    return _frame({**done, "usage": openai.usage(whole_seconds(record))})


def _frame(body: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (body["type"].encode(), orjson.dumps(body))


# --- models -----------------------------------------------------------------------------------------


async def _names(services: Services) -> list[str]:
    """The names of the pools that run."""
    return [pool.name for pool in await services.admission.pools()]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": OWNER}


@router.get("/v1/models", responses={401: ERRORS[401], 503: ERRORS[503]})
async def models(caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """The running pools of transcribers, by name, and their aliases (`MODEL_ALIASES`)."""
    names = [*await _names(services), *(name for name in services.settings.model_names if name != "*")]
    return {"object": "list", "data": [_model(name) for name in names]}


@router.get("/v1/models/{model:path}", responses={code: ERRORS[code] for code in (401, 404, 503)})
async def model(model: str, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """One model."""
    known = [*await _names(services), *services.settings.model_names]
    if model not in known and "*" not in known:
        raise _unknown(model, known)
    return _model(model)
