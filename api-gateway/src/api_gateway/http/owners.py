"""Routes of owners: list, count, export and delete what they have, and for how long it is kept."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import StreamingResponse

from api_gateway.dependencies import WATCH, PrincipalDep, ServicesDep, note_of
from api_gateway.http.owner_ids import OWNER_PATTERN, prefix_of
from api_gateway.http.uploads import model_of
from parlando.domain.access import Scope
from parlando.domain.retention import OwnerRetention, Retention, RetentionChange, longer_than
from parlando.errors import InvalidRequestError, OwnerNotFoundError

router = APIRouter(prefix="/v1/owners", tags=["owners"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key"},
    403: {"description": "The key lacks the scope"},
    422: {"description": "The id is invalid"},
    503: {"description": "Redis or the archive can't be reached"},
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    **_ERRORS,
    404: {"description": "Another owner than the caller's own, without the scope admin"},
}
_WRITING: Final[dict[int | str, dict[str, Any]]] = {
    **_ONE,
    400: {"description": "The request is invalid, or a time is longer than the owner may choose"},
    408: {"description": "The body timed out"},
    413: {"description": "The body is too big"},
    422: {"description": "The id, or a field of the body, is invalid"},
}


async def owner_of(
    request: Request, owner: Annotated[str, Path(pattern=OWNER_PATTERN)], caller: PrincipalDep
) -> str:
    """The first 16 digits of the owner in the path. Raises `OwnerNotFoundError` for those of others."""
    own = caller.owner[:16]
    prefix = prefix_of(owner, own)
    if prefix != own and Scope.ADMIN not in caller.scopes:
        raise OwnerNotFoundError(
            f"This key sees its own owner only ({own or 'none'}, or me); others need the scope admin"
        )
    note_of(request).about = f"owner:{prefix or 'none'}"
    return prefix


OwnerDep = Annotated[str, Depends(owner_of)]


@router.get("", responses=_ERRORS)
async def listed(caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """All owners that have keys or data, with numbers of what they have in Redis."""
    owners = services.owners
    names, found = await owners.names(), await owners.inventory.all()
    everyone = sorted({*found, *names, *owners.configured})
    return {
        "owners": [
            {
                "owner": owner or "none",
                "name": names.get(owner, ""),
                "configured": owner in owners.configured,
                "counts": {kind: count for kind, count in found.get(owner, {}).items() if count},
            }
            for owner in everyone
        ]
    }


@router.get("/{owner}", responses=_ONE)
async def shown(owner: OwnerDep, services: ServicesDep) -> dict[str, Any]:
    """What an owner has: numbers by kind, documents in the archive too."""
    names = await services.owners.names()
    return {
        "owner": owner or "none",
        "name": names.get(owner, ""),
        "configured": owner in services.owners.configured,
        "counts": await services.owners.inventory.of(owner),
    }


@router.delete("/{owner}", responses={**_ONE, 507: {"description": "The blob store can't be reached"}})
async def delete(request: Request, owner: OwnerDep, services: ServicesDep) -> dict[str, Any]:
    """Delete everything of an owner: its keys, sessions, jobs, transcripts, uploads, speakers, deliveries.

    Live sessions are ended, and jobs cancelled. `complete` says that a look at all of Redis and the archive
    found nothing afterwards; `remaining` has what it found. Keys of API_KEYS stay valid: remove them first.
    """
    request.scope["state"][WATCH].release()  # it may be the caller's own key
    done = await services.owners.deletion.run(owner)
    return {
        "owner": owner or "none",
        "complete": done.complete,
        "deleted": done.deleted,
        "remaining": done.remaining,
    }


@router.get(
    "/{owner}/export",
    responses={**_ONE, 200: {"content": {"application/zip": {}}}},
    response_class=StreamingResponse,
)
async def export(owner: OwnerDep, services: ServicesDep) -> StreamingResponse:
    """Everything of an owner as a zip archive: transcripts, jobs, annotations, speakers' names, usage.

    An archive without `manifest.json` was broken off.
    """
    names = await services.owners.names()
    archive = services.owners.export.run(owner, names.get(owner, ""))
    head = f'attachment; filename="parlando-{owner or "none"}.zip"'
    return StreamingResponse(
        await _begun(archive), media_type="application/zip", headers={"Content-Disposition": head}
    )


async def _begun(parts: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same parts, of which the first is there: an error before it is an answer."""
    first = await anext(parts)

    async def all_of_them() -> AsyncGenerator[bytes]:
        yield first
        async for part in parts:
            yield part

    return all_of_them()


@router.get("/{owner}/retention", responses=_ONE)
async def retention(owner: OwnerDep, services: ServicesDep) -> dict[str, Any]:
    """For how long an owner's data is kept, and who set it."""
    return _document(owner, await services.owners.retentions.get(owner), services.owners.default)


@router.put(
    "/{owner}/retention",
    responses=_WRITING,
    openapi_extra={
        "requestBody": {"content": {"application/json": {"schema": RetentionChange.model_json_schema()}}}
    },
)
async def set_retention(
    request: Request, owner: OwnerDep, caller: PrincipalDep, services: ServicesDep
) -> dict[str, Any]:
    """Set for how long an owner's data is kept: with `admin` any times, else shorter ones for oneself.

    0 or null: the cluster's time, or the administrator's. A field that is left out stays as it is.
    """
    asked = await model_of(request, RetentionChange)
    owners = services.owners
    admin = Scope.ADMIN in caller.scopes
    if not admin:
        _check(asked, (await owners.retentions.get(owner)).limit(owners.default))
    known = await owners.retentions.change(owner, "admin" if admin else "own", asked)
    return _document(owner, known, owners.default)


def _check(asked: RetentionChange, limit: Retention) -> None:
    """Raises `InvalidRequestError` for a time that is longer than the owner may choose."""
    if name := longer_than(asked, limit):
        raise InvalidRequestError(
            f"{name}: expected at most {getattr(limit, name)} days, which the administrator set, but got "
            f"{getattr(asked, name)}"
        )


def _document(owner: str, known: OwnerRetention, default: Retention) -> dict[str, Any]:
    return {
        "owner": owner or "none",
        **known.effective(default).model_dump(),
        "set_by_admin": known.admin.model_dump(),
        "set_by_owner": known.own.model_dump(),
        "default": default.model_dump(),
    }
