"""Routes of API keys: create, list, rotate, revoke. They need a key with the scope `admin`."""

import time
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request

from api_gateway.auth import Principal
from api_gateway.dependencies import WATCH, PrincipalDep, Services, ServicesDep, note_of
from api_gateway.http.owner_ids import named_owner
from api_gateway.http.uploads import model_of
from api_gateway.permissions import UPLOADS
from api_gateway.presenters.session import iso
from parlando.domain.access import ID_PATTERN, ApiKey, Scope
from parlando.domain.limits import NO_LIMITS, Limits
from parlando.errors import InvalidRequestError
from parlando.ids import one_line
from parlando.store.api_keys import KeyRequest

MAX_CHARS: Final = 100
"""Longest name of a key, and of an owner."""
MAX_DOORS: Final = 32
LONGEST_GRACE_S: Final = 7 * 86_400

router = APIRouter(prefix="/v1/keys", tags=["keys"])

_READING: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key"},
    403: {"description": "The key lacks the scope admin"},
    404: {"description": "No such key"},
    422: {"description": "The id is invalid"},
    503: {"description": "Redis can't be reached"},
}
_WRITING: Final[dict[int | str, dict[str, Any]]] = {
    **_READING,
    400: {"description": "The request is invalid"},
    408: {"description": "The body timed out"},
    409: {"description": "The key has ended, or is being changed by others"},
    413: {"description": "The body is too big"},
    422: {"description": "A field of the body, or the id, is invalid"},
    503: {"description": "Redis can't be reached, or there are a thousand keys"},
}

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CHARS),
    AfterValidator(one_line),
]
KeyId = Annotated[str, Path(pattern=ID_PATTERN)]


class NewKey(BaseModel):
    """The body of a request for a key."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    owner: Name | None = Field(
        None, description="Whom everything made with the key belongs to; if none, the caller's own owner"
    )
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    doors: list[str] = Field([], max_length=MAX_DOORS, description="Protocols that accept it; none for all")
    limits: Limits = Field(NO_LIMITS, description="Limits of this key alone; its owner's apply as well")
    expires_at: AwareDatetime | None = Field(None, description="ISO 8601 with a time zone; none for never")


class Rotation(BaseModel):
    """The body of a request for another secret."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: int = Field(
        0, ge=0, le=LONGEST_GRACE_S, description="Seconds for which the old secret is accepted"
    )


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}}}


def _moment(at: int) -> str | None:
    return iso(at * 1000) if at else None


def document_of(key: ApiKey, used_at: int = 0) -> dict[str, Any]:
    """A key as a JSON document, without its secret."""
    ended = "revoked" if key.revoked_at else "expired"
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner_name or key.owner[:16],
        "scopes": key.scopes,
        "doors": key.doors,
        "limits": key.limits.set_ones,
        "status": ended if key.ended_at and key.ended_at <= time.time() else "active",
        "created_at": _moment(key.created_at),
        "last_used_at": _moment(used_at),
        "expires_at": _moment(key.expires_at),
        "rotated_at": _moment(key.rotated_at),
        "revoked_at": _moment(key.revoked_at),
    }


@router.post("", status_code=201, responses=_WRITING, openapi_extra=_body(NewKey))
async def create(request: Request, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Create a key. The response has its secret (`key`), which can't be read again."""
    asked = await model_of(request, NewKey)
    key, secret = await services.access.ring.keys.create(
        KeyRequest(
            name=asked.name,
            **_owner(asked.owner, caller),
            scopes=tuple(sorted(set(asked.scopes))),
            doors=_doors(asked.doors, services),
            expires_at=_expiry(asked.expires_at),
            limits=asked.limits,
        )
    )
    note_of(request).about = f"key:{key.id} owner:{key.owner[:16] or 'none'} scopes:{','.join(key.scopes)}"
    await services.access.ring.refresh()
    return {**document_of(key), "key": secret}


def _owner(name: str | None, caller: Principal) -> dict[str, str]:
    if name is None:
        return {"owner": caller.owner, "owner_name": caller.owner_name}
    return {"owner": named_owner(name), "owner_name": name}


def _doors(names: list[str], services: Services) -> tuple[str, ...]:
    known = {*UPLOADS, *services.doors}
    if unknown := [name for name in names if name not in known]:
        raise InvalidRequestError(
            f"doors: expected some of {', '.join(sorted(known))}, but got {unknown[0][:40]!r}"
        )
    return tuple(sorted(set(names)))


def _expiry(moment: datetime | None) -> int:
    if moment is None:
        return 0
    if moment.timestamp() <= time.time():
        raise InvalidRequestError(f"expires_at: expected a time in the future, but got {moment.isoformat()}")
    return int(moment.timestamp())


@router.get("", responses=_READING)
async def listed(caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """All keys of the cluster, oldest first; those that ended up to a month ago too."""
    keys, uses = await services.access.ring.keys.all(), await services.access.ring.keys.uses()
    ordered = sorted(keys.values(), key=lambda key: (key.created_at, key.id))
    return {"keys": [document_of(key, uses.get(key.id, 0)) for key in ordered]}


@router.get("/{key_id}", responses=_READING)
async def shown(key_id: KeyId, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """A key."""
    key, uses = await services.access.ring.keys.get(key_id), await services.access.ring.keys.uses()
    return document_of(key, uses.get(key_id, 0))


@router.post("/{key_id}/rotate", responses=_WRITING, openapi_extra=_body(Rotation))
async def rotate(
    request: Request, key_id: KeyId, caller: PrincipalDep, services: ServicesDep
) -> dict[str, Any]:
    """Give a key another secret (`key`). What it has made stays its owner's.

    After `grace_seconds`, or at once, the old secret is refused, and what it has opened ends.
    """
    asked = await model_of(request, Rotation)
    request.scope["state"][WATCH].release()  # it may be the caller's own key
    key, secret = await services.access.ring.keys.rotate(key_id, grace_s=asked.grace_seconds)
    await services.access.ring.refresh()
    return {**document_of(key), "key": secret}


@router.delete("/{key_id}", responses=_WRITING)
async def revoke(
    request: Request, key_id: KeyId, caller: PrincipalDep, services: ServicesDep
) -> dict[str, Any]:
    """Revoke a key. Connections that use it or its tokens end within two seconds, on all gateways."""
    request.scope["state"][WATCH].release()  # it may be the caller's own key
    key = await services.access.ring.keys.revoke(key_id)
    await services.access.ring.refresh()
    return document_of(key)
