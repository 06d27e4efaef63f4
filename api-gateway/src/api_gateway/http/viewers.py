"""Routes to share a session: viewer tokens, which can read one session and can be revoked."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request

from api_gateway.dependencies import PrincipalDep, RecordDep, ServicesDep, note_of
from api_gateway.http.uploads import model_of
from api_gateway.presenters.session import iso
from parlando.errors import ForbiddenError
from parlando.ids import one_line
from parlando.store.viewers import TOKEN_PATTERN, Viewer

router = APIRouter(prefix="/v1/stt/sessions/{sid}/viewers", tags=["sessions"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key"},
    404: {"description": "No such session or viewer"},
    503: {"description": "Redis can't be reached, or the session has the maximum of a hundred viewer tokens"},
}


class Sharing(BaseModel):
    """The body of a request for a viewer token."""

    label: Annotated[str, AfterValidator(one_line)] = Field(
        "", max_length=100, description="Name of the viewer, for the list"
    )
    token: str = Field(
        "",
        pattern=rf"^$|{TOKEN_PATTERN}",
        description="A token of this session from before Redis lost its data; empty for a new one",
    )


def _document(viewer: Viewer) -> dict[str, Any]:
    return {"viewer_id": viewer.id, "label": viewer.label, "created_at": iso(viewer.created * 1000)}


@router.post(
    "",
    status_code=201,
    responses={
        **_ERRORS,
        400: {"description": "The request is invalid"},
        403: {"description": "The key lacks the scope read, or the caller has sent a token"},
        408: {"description": "The body timed out"},
        413: {"description": "The body is too big"},
        422: {"description": "A field of the body is invalid"},
    },
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": Sharing.model_json_schema()}}}},
)
async def share(
    request: Request, record: RecordDep, caller: PrincipalDep, services: ServicesDep
) -> dict[str, Any]:
    """Create a viewer token. The response has the token, which can't be read again, and the page's URL.

    It needs a key: a viewer token is valid until it is revoked, so it would outlive an access token.
    """
    if caller.by_token:
        raise ForbiddenError(
            "Expected an API key: an access token expires soon, and can't make a viewer token that is valid "
            "until it is revoked"
        )
    sharing = await model_of(request, Sharing)
    viewer, token = await services.viewers.add(record.sid, sharing.label, sharing.token)
    note_of(request).about = f"session:{record.sid} viewer:{viewer.id}"
    base = str(request.base_url).rstrip("/")
    return {**_document(viewer), "token": token, "url": f"{base}/watch/{record.sid}?token={token}"}


@router.get("", responses=_ERRORS)
async def listed(record: RecordDep, services: ServicesDep) -> dict[str, Any]:
    """The viewers, oldest first."""
    return {"viewers": [_document(viewer) for viewer in await services.viewers.all(record.sid)]}


@router.delete("/{viewer_id}", responses=_ERRORS)
async def revoke(
    record: RecordDep, services: ServicesDep, viewer_id: Annotated[str, Path(pattern="^[0-9a-f]{12}$")]
) -> dict[str, str]:
    """Revoke a token. Streams that use it end at once."""
    await services.viewers.revoke(record.sid, viewer_id)
    return {"viewer_id": viewer_id, "status": "revoked"}
