"""Routes of limits: those of an owner, and those of a key. They need a key with the scope `admin`."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.requests import Request

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.keys import KeyId, document_of
from api_gateway.http.owner_ids import prefix_of_named
from api_gateway.http.uploads import model_of
from parlando.domain.limits import Limits
from parlando.store.limit_keys import owner_id

router = APIRouter(tags=["keys"])

_READING: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The request is invalid"},
    401: {"description": "Missing or invalid API key"},
    403: {"description": "The key lacks the scope admin"},
    422: {"description": "A parameter or a limit is invalid"},
    503: {"description": "Redis can't be reached"},
}
_WRITING: Final[dict[int | str, dict[str, Any]]] = {
    **_READING,
    408: {"description": "The body timed out"},
    413: {"description": "The body is too big"},
    503: {"description": "Redis can't be reached, or too many owners have limits of their own"},
}
_KEY: Final[dict[int | str, dict[str, Any]]] = {
    **_WRITING,
    404: {"description": "No such key"},
    409: {"description": "The key is being changed by others"},
}
_BODY: Final = {"requestBody": {"content": {"application/json": {"schema": Limits.model_json_schema()}}}}

OwnerName = Annotated[
    str,
    Path(
        min_length=1,
        max_length=100,
        description="The owner, as in the documents of keys: name or digits; or `me`",
    ),
]


def _owner(name: str, caller: Principal) -> str:
    """The owner as limits name it in Redis."""
    return owner_id(prefix_of_named(name, caller.owner[:16]))


def _document(name: str, limits: Limits, services: Services) -> dict[str, Any]:
    """The limits that are set, and all limits that apply; 0 for none."""
    applied = limits.over(services.settings.limits)
    return {"owner": name, "limits": limits.set_ones, "effective": applied.model_dump()}


@router.get("/v1/owners/limits", responses=_READING)
async def listed(caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """The owners with limits of their own, by their digits, and the limits of all others (0 for none)."""
    found = await services.limits.owners.all()
    return {
        "owners": [_document(name, limits, services) for name, limits in sorted(found.items())],
        "default": services.settings.limits.model_dump(),
    }


@router.get("/v1/owners/{owner}/limits", responses=_READING)
async def shown(owner: OwnerName, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """The limits of an owner: those that are set, and those that apply."""
    return _document(owner, await services.limits.owners.get(_owner(owner, caller)), services)


@router.put("/v1/owners/{owner}/limits", responses=_WRITING, openapi_extra=_BODY)
async def put(
    request: Request, owner: OwnerName, caller: PrincipalDep, services: ServicesDep
) -> dict[str, Any]:
    """Set an owner's limits: 0 for none; one that is left out is as the settings say.

    They apply at once on this gateway, on the others within a second, in running sessions too.
    """
    limits = await model_of(request, Limits)
    await services.limits.owners.put(_owner(owner, caller), limits)
    return _document(owner, limits, services)


@router.delete("/v1/owners/{owner}/limits", responses=_WRITING)
async def remove(owner: OwnerName, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Remove an owner's limits: those of the settings apply."""
    await services.limits.owners.remove(_owner(owner, caller))
    return _document(owner, Limits(), services)


@router.put("/v1/keys/{key_id}/limits", responses=_KEY, openapi_extra=_BODY)
async def put_of_key(
    request: Request, key_id: KeyId, caller: PrincipalDep, services: ServicesDep
) -> dict[str, Any]:
    """Set a key's limits: 0, or left out, for none of its own. Its owner's apply as well."""
    limits = await model_of(request, Limits)
    key = await services.access.ring.keys.limit(key_id, limits)
    await services.access.ring.refresh()
    return document_of(key)
