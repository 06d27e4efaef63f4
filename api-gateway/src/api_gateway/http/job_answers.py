"""Requests that are answered with the result of a job, which is removed when it is answered."""

import asyncio
from functools import partial

from starlette.requests import ClientDisconnect, Request

from api_gateway.dependencies import Services
from api_gateway.http.sse import ENDS
from api_gateway.live.relay import Relay
from parlando.errors import JobNotFoundError, UnavailableError
from parlando.store.job_store import JobRecord
from parlando.tasks import end

_removals: set[asyncio.Task[None]] = set()


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
