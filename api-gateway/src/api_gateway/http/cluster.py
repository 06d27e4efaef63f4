"""The cluster overview, once or every second: read-only, for the web app and other dashboards."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.sse import stream
from parlando.errors import UnavailableError

EVERY_S: Final = 1.0

router = APIRouter(prefix="/v1/cluster", tags=["operation"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key"},
    503: {"description": "Redis can't be reached"},
}


async def _report(services: Services, key: str) -> dict[str, Any]:
    overview = await services.cluster.overview()
    return {
        **overview,
        "deliveries": services.queues.counts(),
        "your_sessions": await services.cluster.sessions_of(key),
    }


@router.get("", responses=_ERRORS)
async def cluster(caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Sessions, queues, lag, latencies by stage (last minute), all processes, and your own live sessions."""
    return await _report(services, caller.owner)


@router.get(
    "/events",
    responses={**_ERRORS, 200: {"content": {"text/event-stream": {}}}},
    response_class=StreamingResponse,
)
async def events(
    caller: PrincipalDep,
    services: ServicesDep,
    count: Annotated[int | None, Query(ge=1, le=1 << 31, description="End after this many events")] = None,
) -> StreamingResponse:
    """The same every second, as server-sent events."""
    return stream(_frames(services, caller.owner, count))


async def _frames(services: Services, key: str, count: int | None) -> AsyncGenerator[bytes]:
    sent = 0
    while count is None or sent < count:
        sent += 1
        try:
            yield b"event: cluster\ndata: %s\n\n" % orjson.dumps(await _report(services, key))
        except UnavailableError as error:
            yield b"event: unavailable\ndata: %s\n\n" % orjson.dumps({"detail": error.message})
        await asyncio.sleep(EVERY_S)
