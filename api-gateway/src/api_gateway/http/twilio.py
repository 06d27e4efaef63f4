"""The route that Twilio calls when a call comes in. It answers with TwiML that streams the call here."""

from typing import Annotated, Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape, quoteattr

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api_gateway.dependencies import ServicesDep, authenticated
from api_gateway.http.uploads import body_of
from api_gateway.twilio_signature import matches
from parlando.errors import NotAllowedError

MAX_FORM: Final = 1 << 16  # bytes
LONGEST_CALL_S: Final = 14_400
_SECURE: Final = {"http": "ws", "https": "wss"}

router = APIRouter(tags=["Twilio"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Unknown key, or the signature is wrong"},
    413: {"description": "The form is too big"},
}


@router.post(
    "/twilio/{key}/voice",
    responses={**_ERRORS, 200: {"content": {"application/xml": {}}}},
    response_class=Response,
)
async def voice(
    request: Request,
    services: ServicesDep,
    key: str,
    dial: Annotated[
        str | None, Query(pattern=r"^\+?[0-9]{3,15}$", description="Number to connect the call to")
    ] = None,
    language: Annotated[str | None, Query(max_length=200, description="As in the native protocol")] = None,
) -> Response:
    """TwiML for the webhook of a phone number: both tracks of the call are streamed to `WS /twilio/{key}`.

    Without `dial` the call is held, and only its audio is transcribed.
    """
    await authenticated(request, key)
    form = await body_of(request, MAX_FORM)
    token = services.settings.twilio_auth_token
    if token:
        fields = parse_qsl(form.decode("utf-8", "replace"), keep_blank_values=True)
        signature = request.headers.get("x-twilio-signature", "")
        if not matches(token, signature, str(request.url), fields):
            raise NotAllowedError("Expected a valid X-Twilio-Signature of this request")
    url = request.url.replace(
        scheme=_SECURE[request.url.scheme], query="", path=request.url.path.removesuffix("/voice")
    )
    parameter = f'<Parameter name="language" value={quoteattr(language)}/>' if language else ""
    then = f"<Dial>{escape(dial)}</Dial>" if dial else f'<Pause length="{LONGEST_CALL_S}"/>'
    return Response(
        '<?xml version="1.0" encoding="UTF-8"?><Response><Start>'
        f'<Stream url={quoteattr(str(url))} track="both_tracks">{parameter}</Stream>'
        f"</Start>{then}</Response>",
        media_type="application/xml",
    )
