"""`POST /v1/audio/transcriptions/stream` of omniASR-server: a file's text as server-sent events.

A request is processed as a job, which is removed when it is answered or its client disconnects.
"""

import time
from collections.abc import AsyncGenerator
from typing import Any, Final

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import StreamingResponse

from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.job_answers import kept, relay_of, remove_later, submitted
from api_gateway.http.job_uploads import receive
from api_gateway.http.openai_transcriptions import ERRORS, check_ended, pool_for, request_of
from api_gateway.http.sse import ENDS, stream
from api_gateway.presenters.openai import ParamError
from api_gateway.presenters.problem import openai_answer
from parlando.domain.audio import seconds
from parlando.errors import JobNotFoundError, ParlandoError, UnavailableError
from parlando.store.job_store import JobRecord

MAX_INTERIM: Final = 20_000  # characters of text in an event that isn't the last one
DONE: Final = b"data: [DONE]\n\n"

router = APIRouter(tags=["OpenAI"])

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
                },
            }
        }
    },
}


@router.post(
    "/v1/audio/transcriptions/stream",
    responses={**ERRORS, 200: {"content": {"text/event-stream": {}}}},
    openapi_extra={"requestBody": _BODY},
    response_model=None,
)
async def transcriptions_stream(
    request: Request, caller: PrincipalDep, services: ServicesDep
) -> StreamingResponse:
    """Transcribe a file; each event has the text so far, the last one is marked with `is_final`."""
    started_at = time.monotonic()
    upload = await receive(request, services.blobs, limit=await services.limits.admit_upload(caller.holder))
    if upload.source is None:
        raise ParamError("Expected a file, but it is empty or missing", "file")
    async with kept(services, upload.source):
        params = request_of(upload, "transcribe", default_language=services.settings.default_language)
        pool = await pool_for(services, upload.one("model"), params.options)
    job = await submitted(services, upload.source, params.options, pool=pool.name, caller=caller)
    return stream(_events(services, job, started_at))


async def _events(services: Services, job: str, started_at: float) -> AsyncGenerator[bytes]:
    """The text so far with each chunk that is decoded; an error ends the stream without `[DONE]`."""
    texts: list[str] = []
    interim, count = "", 0
    try:
        async with relay_of(services, job) as relay:
            async for batch in relay.batches():
                if not batch:
                    yield b": still here\n\n"
                for message in batch:
                    segments = getattr(message.message, "segments", ())
                    if new := [segment["text"] for segment in segments if segment["text"]]:
                        texts += new
                        interim = " ".join([interim, *new]).strip()[-MAX_INTERIM:]
                        count += 1
                        record = await services.jobs.record(job)
                        yield _frame(record, interim, count, started_at)
                    if message.type in ENDS:
                        record = await services.jobs.record(job)
                        check_ended(record)
                        yield _frame(record, " ".join(texts), count + 1, started_at, is_final=True)
                        yield DONE
                        return
    except JobNotFoundError:
        lost = UnavailableError("Redis has lost its data; send the file again")
        yield b"data: %s\n\n" % bytes(openai_answer(lost).body)
    except ParlandoError as error:
        yield b"data: %s\n\n" % bytes(openai_answer(error).body)
    finally:
        remove_later(services, job)


def _frame(record: JobRecord, text: str, number: int, started_at: float, *, is_final: bool = False) -> bytes:
    """One event. The total of `chunk` is estimated from the progress until the end."""
    elapsed = time.monotonic() - started_at
    duration = seconds(record.duration or record.expected or 0)
    total = number if is_final else max(number + 1, round(number / max(record.progress, 0.01)))
    body: dict[str, Any] = {
        "text": text,
        "chunk": f"{number}/{total}",
        "is_final": is_final,
        "duration": round(duration, 3),
        "processing_time": round(elapsed, 3),
        "rtf": round(elapsed / duration, 4) if duration else 0.0,
    }
    return b"data: %s\n\n" % orjson.dumps(body)
