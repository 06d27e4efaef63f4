"""Requests that are answered with the result of a job, which is removed when it is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.requests import ClientDisconnect, Request

from api_gateway.auth import Principal
from api_gateway.dependencies import Services
from api_gateway.http.job_admission import REFUSED, submit_admitted
from api_gateway.http.job_uploads import discard
from api_gateway.http.sse import ENDS
from parlando.domain.job_options import JobOptions, JobStatus
from parlando.errors import (
    EngineError,
    InvalidAudioError,
    JobNotFoundError,
    UnavailableError,
)
from parlando.ids import new_job_id
from parlando.store.job_store import JobRecord, Source
from parlando.store.relay import Relay
from parlando.tasks import end

_removals: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def kept(services: Services, source: Source) -> AsyncIterator[None]:
    """Discard an uploaded file if the block fails: no job will use it."""
    try:
        yield
    except BaseException:
        await discard(services.blobs, source.blob)
        raise


async def submitted(
    services: Services,
    source: Source,
    options: JobOptions,
    *,
    pool: str,
    caller: Principal,
    listed: bool = False,
) -> str:
    """Submit a job, and return its id. `listed`: whether the owner's list of jobs contains it.

    Raises
    ------
    AtCapacityError, TooManyJobsError, QuotaExceededError
        if too many jobs are waiting, or a limit is reached; the file is then discarded.
    UnavailableError

    """
    job = new_job_id()
    try:
        await submit_admitted(services, job, source, options, pool=pool, caller=caller, listed=listed)
    except REFUSED:  # after any other error the job may be queued and need its file
        await discard(services.blobs, source.blob)
        raise
    return job


def check_completed(record: JobRecord) -> None:
    """Check that a job that has ended was completed. Raises `InvalidAudioError`, `EngineError`."""
    if record.status is JobStatus.COMPLETED:
        return
    failure = record.error or {"code": "internal", "message": "The job was cancelled"}
    if failure["code"] in ("invalid_audio", "too_long"):
        raise InvalidAudioError(failure["message"])
    raise EngineError(failure["message"])


async def ended(request: Request, services: Services, job: str) -> JobRecord:
    """Wait for the job's end.

    Raises
    ------
    ClientDisconnect
        if the client disconnects before.
    UnavailableError

    """
    waiting = asyncio.create_task(_wait(services, job))
    disconnect = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait([waiting, disconnect], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        await waiting
    finally:
        await end(waiting, disconnect)
    return await services.jobs.record(job)


async def _wait(services: Services, job: str) -> None:
    try:
        async with relay_of(services, job) as relay:
            async for batch in relay.batches():
                if any(message.type in ENDS for message in batch):
                    return
    except JobNotFoundError as error:
        raise UnavailableError("Redis has lost its data; send the file again") from error


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def relay_of(services: Services, job: str) -> Relay:
    """All events of a job."""
    return Relay(
        services.history, services.channels, job, after=0, admitted=partial(services.jobs.known, job)
    )


def remove_later(services: Services, job: str) -> None:
    """Remove a job in the background, even if the request is being cancelled."""
    task = asyncio.create_task(_remove(services, job))
    _removals.add(task)
    task.add_done_callback(_removals.discard)


async def _remove(services: Services, job: str) -> None:
    try:
        record = await services.jobs.record(job)
        await services.jobs.cancel(record)
        await services.blobs.delete(record.source.blob)
        await services.jobs.forget(record)
    except JobNotFoundError:
        pass
