"""Client secrets of OpenAI's Realtime API: short-lived keys for browsers, which carry a session's config."""

from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, RootModel
from starlette.requests import Request

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.doors.openai_realtime import CLAIM
from api_gateway.http.uploads import model_of
from api_gateway.presenters.openai_session import RealtimeSession, beta_changes, ga_changes
from parlando.domain.access import Scope
from parlando.ids import new_session_id

PREFIX: Final = "ek_"
DEFAULT_S: Final = 600
SHORTEST_S: Final = 10
LONGEST_S: Final = 7200

router = APIRouter(tags=["OpenAI"])


class Expiry(BaseModel):
    """How long a client secret is valid."""

    model_config = ConfigDict(extra="ignore")

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(DEFAULT_S, ge=SHORTEST_S, le=LONGEST_S)


class SecretRequest(BaseModel):
    """The body of a request for a client secret. `session`: of the GA shape."""

    model_config = ConfigDict(extra="ignore")

    expires_after: Expiry = Field(default_factory=Expiry)
    session: dict[str, Any] | None = None


class BetaSession(RootModel[dict[str, Any]]):
    """A session of the beta shape."""


_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "A field of the session is invalid"},
    401: {"description": "Missing or invalid API key, or the caller itself uses a client secret"},
    408: {"description": "The body timed out"},
    413: {"description": "The body is too big"},
    422: {"description": "A field of the body is invalid"},
    503: {"description": "Redis can't be reached"},
}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


_SECRET_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "expires_after": {
            "type": "object",
            "properties": {
                "anchor": {"type": "string", "enum": ["created_at"]},
                "seconds": {"type": "integer", "minimum": SHORTEST_S, "maximum": LONGEST_S},
            },
        },
        "session": {"type": "object"},
    },
}


@router.post("/v1/realtime/client_secrets", responses=_ERRORS, openapi_extra=_body(_SECRET_SCHEMA))
async def client_secrets(request: Request, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Make a key, valid for `expires_after.seconds`. A connection made with it has the config `session`."""
    body = await model_of(request, SecretRequest)
    session = RealtimeSession.default().changed(ga_changes(body.session or {}))
    secret, expires_at = await _issue(services, caller, session, body.expires_after.seconds)
    shown = {**session.ga(_name()), "expires_at": expires_at}
    return {"value": secret, "expires_at": expires_at, "session": shown}


@router.post(
    "/v1/realtime/transcription_sessions", responses=_ERRORS, openapi_extra=_body({"type": "object"})
)
async def transcription_sessions(
    request: Request, caller: PrincipalDep, services: ServicesDep
) -> dict[str, Any]:
    """The same in the beta shape."""
    body = await model_of(request, BetaSession)
    session = RealtimeSession.default().changed(beta_changes(body.root))
    secret, expires_at = await _issue(services, caller, session, DEFAULT_S)
    return {**session.beta(_name()), "client_secret": {"value": secret, "expires_at": expires_at}}


async def _issue(
    services: Services, caller: Principal, session: RealtimeSession, seconds: int
) -> tuple[str, int]:
    claims = {CLAIM: session.claims()}
    return await services.access.issue(caller, seconds, scopes=[Scope.LIVE], prefix=PREFIX, claims=claims)


def _name() -> str:
    """An id for the answer. Each connection made with the secret is a session with an id of its own."""
    return new_session_id().replace("s_", "sess_", 1)
