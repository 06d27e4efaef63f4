"""`GET /v1/audit`: the audit log. With `admin` of all owners, with `read` of the caller's own."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.requests import Request

from api_gateway.audit_table import ACTIONS
from api_gateway.dependencies import PrincipalDep, ServicesDep, note_of
from api_gateway.http.moments import moment_of
from api_gateway.http.owner_ids import OWNER_PATTERN, prefix_of
from api_gateway.presenters.session import iso
from parlando.domain.access import Scope
from parlando.errors import ForbiddenError, InvalidRequestError
from parlando.store.audit import CURSOR_PATTERN, AuditEntry

LAST_MS: Final = 253_402_300_799_000  # the end of the year 9999, unix milliseconds

router = APIRouter(tags=["operation"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "A time or an action is invalid"},
    401: {"description": "Missing or invalid API key"},
    422: {"description": "A parameter is invalid"},
    503: {"description": "Redis can't be reached"},
}


@router.get("/v1/audit", responses=_ERRORS)
async def listed(
    request: Request,
    caller: PrincipalDep,
    services: ServicesDep,
    since: Annotated[str | None, Query(max_length=64, description="Only entries from this time on")] = None,
    action: Annotated[
        str | None, Query(max_length=64, description="One action, or all of a kind: `key.create`, `key`")
    ] = None,
    owner: Annotated[str | None, Query(pattern=OWNER_PATTERN, description="Who acted: `me` or an id")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR_PATTERN, description="`next` of the previous page")
    ] = None,
) -> dict[str, Any]:
    """Who did what, oldest first. `next` is where the following page begins, also after the last entry."""
    if cursor:
        note_of(request).skip()  # its first page is noted
    shown = _shown_owner(owner, caller.owner[:16], everyone=Scope.ADMIN in caller.scopes)
    if action is not None and not any(_is(name, action) for name in ACTIONS):
        raise InvalidRequestError(f"action: expected one of {', '.join(ACTIONS)}, but got {action[:40]!r}")

    def wanted(entry: AuditEntry) -> bool:
        return (shown is None or entry.owner == shown) and (action is None or _is(entry.action, action))

    since_ms = min(max(moment_of(since), 0), LAST_MS) if since else 0
    page = await services.auditor.log.page(since_ms=since_ms, cursor=cursor or "", limit=limit, wanted=wanted)
    return {
        "entries": [_document(name, entry) for name, entry in page.entries],
        "next": page.next,
        "more": page.more,
    }


def _shown_owner(asked: str | None, own: str, *, everyone: bool) -> str | None:
    """Whose entries are shown; None for all."""
    if asked is None:
        return None if everyone else own or "none"
    prefix = prefix_of(asked, own)
    if prefix != own and not everyone:
        raise ForbiddenError(
            "This key reads its own owner's entries only; for others it needs the scope admin"
        )
    return prefix or "none"


def _is(name: str, action: str) -> bool:
    """Whether an action is the one that is asked for, or of its kind."""
    return name == action or name.startswith(f"{action}.")


def _document(name: str, entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": name,
        "at": iso(entry.at_ms),
        "owner": entry.owner,
        "key": entry.key,
        "key_name": entry.key_name,
        "token": entry.token,
        "action": entry.action,
        "object": entry.object,
        "address": entry.address,
        "outcome": entry.outcome,
        "status": entry.status,
        "request_id": entry.request,
    }
