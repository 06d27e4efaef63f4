"""`GET /v3/token`: temporary tokens for the streaming protocol of AssemblyAI."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api_gateway.dependencies import PrincipalDep, ServicesDep
from parlando.domain.access import Scope

router = APIRouter(tags=["AssemblyAI"])

_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "Missing or invalid API key"},
    422: {"description": "A parameter is invalid"},
    503: {"description": "Redis can't be reached"},
}


class TemporaryToken(BaseModel):
    """A token for `?token=` of `WS /v3/ws`."""

    token: str
    expires_in_seconds: int = Field(description="Seconds within which a connection must be opened with it")


@router.get("/v3/token", responses=_ERRORS)
async def temporary_token(
    caller: PrincipalDep,
    services: ServicesDep,
    expires_in_seconds: Annotated[int, Query(ge=1, le=600)],
) -> TemporaryToken:
    """Issue a token with which a browser can connect in place of the API key."""
    token, _ = await services.access.issue(caller, expires_in_seconds, scopes=[Scope.LIVE])
    return TemporaryToken(token=token, expires_in_seconds=expires_in_seconds)
