"""`POST /v1/tokens`: short-lived tokens, with which browsers and apps connect in place of a key."""

from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from api_gateway.dependencies import PrincipalDep, ServicesDep, note_of
from api_gateway.http.uploads import model_of
from api_gateway.presenters.session import iso
from parlando.domain.access import Scope
from parlando.errors import ForbiddenError, InvalidRequestError

LONGEST_S: Final = 3600
MAX_SESSIONS: Final = 1000
_COUNTED: Final = frozenset({Scope.LIVE, Scope.READ})

router = APIRouter(tags=["keys"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The request is invalid"},
    401: {"description": "Missing or invalid API key, or the caller itself uses a token"},
    408: {"description": "The body timed out"},
    413: {"description": "The body is too big"},
    422: {"description": "A field of the body is invalid"},
    503: {"description": "Redis can't be reached"},
}


class TokenRequest(BaseModel):
    """The body of a request for a token."""

    model_config = ConfigDict(extra="forbid")

    scopes: list[Scope] = Field([Scope.LIVE], min_length=1, max_length=len(Scope))
    seconds: int = Field(60, ge=1, le=LONGEST_S, description="Seconds within which it may be used")
    sessions: int | None = Field(
        None, ge=1, le=MAX_SESSIONS, description="Live sessions that it may open; none for any number"
    )


@router.post(
    "/v1/tokens",
    status_code=201,
    responses=_ERRORS,
    openapi_extra={
        "requestBody": {"content": {"application/json": {"schema": TokenRequest.model_json_schema()}}}
    },
)
async def create(request: Request, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Make a token that stands for the caller's key, with some of its scopes.

    It is sent like a key. Sessions that it has opened go on after it has expired. It ends with its key.
    """
    asked = await model_of(request, TokenRequest)
    scopes = sorted(set(asked.scopes))
    if Scope.ADMIN in scopes:
        raise ForbiddenError("Expected other scopes: a token can't have the scope admin")
    if asked.sessions and not _COUNTED.issuperset(scopes):
        raise InvalidRequestError(
            "sessions: expected no other scopes than live and read, whose use is counted"
        )
    token, expires_at = await services.access.issue(
        caller, asked.seconds, scopes=scopes, sessions=asked.sessions or 0
    )
    note_of(request).about = f"token:{','.join(scopes)} seconds:{asked.seconds}"
    return {
        "token": token,
        "expires_at": iso(expires_at * 1000),
        "expires_in": asked.seconds,
        "scopes": scopes,
        "sessions": asked.sessions,
    }
