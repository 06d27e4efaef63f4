"""Waiting deliveries and dead letters: archive, webhook, callbacks. Each key sees its own."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query

from api_gateway.deliveries.queues import DELIVERY_ID_PATTERN, Listed
from api_gateway.dependencies import PrincipalDep, ServicesDep

router = APIRouter(prefix="/v1/deliveries", tags=["operation"])

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key", **_PROBLEM},
    422: {"description": "A parameter is invalid", **_PROBLEM},
    503: {"description": "Redis can't be reached", **_PROBLEM},
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    404: {"description": "No such delivery of this owner", **_PROBLEM},
}


async def own(
    delivery_id: Annotated[str, Path(pattern=DELIVERY_ID_PATTERN)],
    caller: PrincipalDep,
    services: ServicesDep,
) -> Listed:
    """A delivery of the caller's own."""
    return await services.queues.get(delivery_id, caller.owner)


OwnDep = Annotated[Listed, Depends(own)]


@router.get("", responses=_ERRORS)
async def listed(
    caller: PrincipalDep,
    services: ServicesDep,
    state: Annotated[
        Literal["dead", "waiting"], Query(description="`dead`: given up; `waiting`: waiting or in progress")
    ] = "dead",
    queue: Annotated[Literal["archive", "callback", "push", "notice", "song"] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """The caller's deliveries, newest first: dead letters, or waiting ones."""
    page = await services.queues.listed(caller.owner, queue=queue, dead=state == "dead", limit=limit)
    return {"deliveries": [each.document() for each in page]}


@router.get("/{delivery_id}", responses=_ONE)
async def shown(delivery: OwnDep) -> dict[str, Any]:
    """A delivery: the number of attempts, the last error, and the time of the next attempt."""
    return delivery.document()


@router.post("/{delivery_id}/retry", status_code=202, responses=_ONE)
async def retry(delivery: OwnDep) -> dict[str, str]:
    """Retry a delivery now. A dead letter gets all its attempts again."""
    before = await delivery.queue.deliveries.retry(delivery.delivery)
    return {"id": delivery.id, "status": "working" if before == "working" else "ready"}


@router.delete("/{delivery_id}", responses=_ONE)
async def drop(delivery: OwnDep) -> dict[str, str]:
    """Delete a delivery: it isn't attempted again."""
    await delivery.queue.deliveries.drop(delivery.delivery)
    return {"id": delivery.id, "status": "dropped"}
