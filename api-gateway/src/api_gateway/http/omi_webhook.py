"""What Omi calls over HTTP: the audio webhook, and the app's local Whisper."""

import time
from hashlib import sha256
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway import metrics
from api_gateway.auth import Principal, authenticate, handshake_of
from api_gateway.deliveries.signature import secrets_for, verify
from api_gateway.dependencies import Services, ServicesDep, services
from api_gateway.http.uploads import body_of, form_of
from api_gateway.live.file_session import CONTAINER, hear_file, send_file
from api_gateway.presenters.openai import FORMATS
from parlando.domain.config import SessionConfig
from parlando.domain.formats import HIGHEST_RATE, LOWEST_RATE, AudioFormat
from parlando.errors import AtCapacityError, InvalidRequestError, NotAllowedError, ParlandoError
from parlando.ids import UID_PATTERN, is_uid, new_token
from parlando.store.sessions import SessionWriter

WAITING: Final = 1000  # sessions of Omi users that may wait for a worker's room
SETTLE_S: Final = 10  # without audio, until a session's habits are known
INFERENCE_WITHIN_S: Final = 55  # the app waits for 60

router = APIRouter(tags=["Omi"])

Uid = Annotated[str, Query(pattern=UID_PATTERN, description="The Omi user")]
Rate = Annotated[int, Query(ge=LOWEST_RATE, le=HIGHEST_RATE, description="Hz; the body is mono s16le")]

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body isn't audio, or no form with a file"},
    401: {"description": "The signature is wrong"},
    404: {"description": "No such key"},
    408: {"description": "The body didn't go on"},
    413: {"description": "The body is too big"},
    415: {"description": "The audio can't be decoded"},
    422: {"description": "A parameter doesn't fit"},
    503: {"description": "Really full; send it again"},
}
_NO_KEY: dict[int | str, dict[str, Any]] = {404: _ERRORS[404]}


class UnknownKeyError(ParlandoError):
    """Raised when a key isn't known. Omi takes a 404 as final, and asks no more."""

    code = "key_not_found"


def _caller(request: Request, key: str | None) -> Principal:
    try:
        return authenticate(handshake_of(request), services(request).settings, offered=key)
    except NotAllowedError as error:
        raise UnknownKeyError(error.message) from error


# --- the webhook ------------------------------------------------------------------------------------


@router.get("/streaming", responses=_NO_KEY)
@router.get("/audio", responses=_NO_KEY)
@router.get("/omi/setup", responses=_NO_KEY)
@router.get("/omi/{key}/streaming", responses=_NO_KEY)
@router.get("/omi/{key}/audio", responses=_NO_KEY)
@router.get("/omi/{key}/setup", responses=_NO_KEY)
async def setup(request: Request, key: str | None = None) -> dict[str, bool]:
    """Omi's check of the set-up."""
    _caller(request, key)
    return {"is_setup_completed": True}


@router.post("/streaming", responses=_ERRORS)
@router.post("/omi/{key}/streaming", responses=_ERRORS)
async def streaming(
    request: Request, found: ServicesDep, uid: Uid, sample_rate: Rate = 16_000, key: str | None = None
) -> JSONResponse:
    """Raw audio of a user: mono s16le, however much. It's in Redis when the answer comes."""
    caller = _caller(request, key)
    body = await body_of(request, found.settings.omi_max_body_mb << 20)
    await _check_signature(request, found, caller, uid, body)
    return await _take(request, found, caller, uid, sample_rate, body, status="queued")


@router.post("/audio", responses=_ERRORS)
@router.post("/omi/{key}/audio", responses=_ERRORS)
async def audio(
    request: Request,
    found: ServicesDep,
    uid: Annotated[str | None, Query(pattern=UID_PATTERN)] = None,
    sample_rate: Rate = 16_000,
    key: str | None = None,
) -> JSONResponse:
    """Raw audio of a user, or a whole recording: a WAV (or any file in a multipart form)."""
    caller = _caller(request, key)
    limit = found.settings.omi_max_body_mb << 20
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        if found.settings.omi_signature == "required":
            raise NotAllowedError("Signed bodies only: send the WAV as the body, with X-Omi-Signature")
        form = await form_of(request, limit)
        uid = uid or form.fields.get("uid")
        if form.file is None:
            raise InvalidRequestError("Expected a file in the form, but it has none")
        return await _take_file(request, found, caller, _needed(uid), form.file)
    body = await body_of(request, limit)
    user = _needed(uid)
    await _check_signature(request, found, caller, user, body)
    if body[:4] == b"RIFF":
        return await _take_file(request, found, caller, user, body)
    return await _take(request, found, caller, user, sample_rate, body, status="ok")


def _needed(uid: str | None) -> str:
    if not uid:
        raise InvalidRequestError("Expected the parameter uid, but it's missing")
    if not is_uid(uid):
        raise InvalidRequestError(f"Expected a uid of letters, digits, _ and -, but got {uid[:40]!r}")
    return uid


async def _check_signature(
    request: Request, found: Services, caller: Principal, uid: str, body: bytes
) -> None:
    policy = found.settings.omi_signature
    header = request.headers.get("x-omi-signature")
    if policy == "off" or (policy == "optional" and header is None):
        return
    secrets = secrets_for(found.settings.omi_signature_secrets, uid)
    if header is None or not verify(header, secrets, uid, body, now=time.time()):
        await found.http_audio.refused_signature(caller.key, uid)
        metrics.BODIES.labels("bad_signature").inc()
        raise NotAllowedError("X-Omi-Signature is missing, too old, or not made with the webhook's secret")


def _name(request: Request, uid: str, rate: int, body: bytes) -> tuple[str, bool]:
    """What tells a repeat of a body, and whether the sender says so itself."""
    if given := request.headers.get("idempotency-key"):
        return f"k:{given[:200]}", True
    if not any(body[:4096]) and not any(body):  # two silences are no repeat
        return f"n:{new_token()}", True
    return f"h:{sha256(f'{uid}:{rate}:'.encode() + body).hexdigest()}", False


async def _take(
    request: Request, found: Services, caller: Principal, uid: str, rate: int, body: bytes, *, status: str
) -> JSONResponse:
    if not body:
        raise InvalidRequestError("Expected audio in the body, but it's empty")

    async def opening(sid: str, form: AudioFormat) -> SessionWriter:
        config = SessionConfig(interim=False, batch=found.settings.omi_mode == "batch")
        return await found.sessions.open(
            sid,
            config=config.model_dump(exclude_none=True),
            token=new_token(),
            key=caller.key,
            limit=await _room(found, form),
            form=form,
            uid=uid,
            push=bool(found.settings.omi_transcript_webhook),
            window_s=found.settings.omi_idle_s,
            settle_s=SETTLE_S,
            metered=True,
        )

    name, named = _name(request, uid, rate, body)
    taken = await found.http_audio.take(caller.key, uid, rate, body, name=name, named=named, opening=opening)
    metrics.BODIES.labels("repeated" if taken.repeated else "taken").inc()
    if taken.repeated:
        message = "This audio had come already; it was not taken twice."
    else:
        message = f"{len(body) / 2 / rate:.1f} s of audio received; read the words at /transcripts/{uid}."
    return _answer(status, uid, rate, body, message, session_id=taken.sid)


async def _room(found: Services, form: AudioFormat) -> int:
    """How many sessions may be open when another user's begins: bodies are kept even while no worker is."""
    try:
        return await found.admission.capacity(form) + WAITING
    except AtCapacityError:
        return WAITING


async def _take_file(
    request: Request, found: Services, caller: Principal, uid: str, body: bytes
) -> JSONResponse:
    name, named = _name(request, uid, 0, body)

    async def sending(sid: str) -> None:
        await send_file(
            found,
            body,
            limit=await _room(found, CONTAINER),
            key=caller.key,
            config=SessionConfig(interim=False, batch=found.settings.omi_mode == "batch"),
            sid=sid,
            uid=uid,
            push=bool(found.settings.omi_transcript_webhook),
        )

    taken = await found.http_audio.take_file(caller.key, uid, name=name, named=named, sending=sending)
    if taken.repeated:
        metrics.BODIES.labels("repeated").inc()
        return _answer("queued", uid, 16_000, body, "This file had come already; it was not taken twice.")
    metrics.BODIES.labels("file").inc()
    message = f"The recording was received; read the words at /transcripts/{uid}."
    return _answer("queued", uid, 16_000, body, message, session_id=taken.sid)


def _answer(status: str, uid: str, rate: int, body: bytes, message: str, **more: Any) -> JSONResponse:
    return JSONResponse(
        {
            "status": status,
            "uid": uid,
            "filename": f"streaming_{uid}_{int(time.time())}.wav",
            "size_mb": round(len(body) / (1 << 20), 2),
            "sample_rate": rate,
            "raw_bytes_received": len(body),
            "received_bytes": len(body),
            "message": message,
            **more,
        }
    )


# --- the app's local Whisper --------------------------------------------------------------------------


@router.post("/inference", responses=_ERRORS)
@router.post("/omi/{key}/inference", responses=_ERRORS)
async def inference(request: Request, found: ServicesDep, key: str | None = None) -> Response:
    """What whisper.cpp's server does: a file in a multipart form, its words out. Waits when it's full."""
    caller = _caller(request, key)
    form = await form_of(request, found.settings.omi_max_body_mb << 20)
    if form.file is None:
        raise InvalidRequestError("Expected a file in the form, but it has none")
    wanted = form.fields.get("response_format") or "json"
    if wanted not in FORMATS:
        raise InvalidRequestError(
            f"Expected a response_format of {', '.join(FORMATS)}, but got {wanted[:40]!r}"
        )
    language = await found.admission.language_or_none(form.fields.get("language"))
    transcript = await hear_file(
        found,
        form.file,
        key=caller.key,
        config=SessionConfig(interim=False, language=language, prompt=form.fields.get("prompt", "")[:2000]),
        within_s=INFERENCE_WITHIN_S,
    )
    media_type, write = FORMATS[wanted]
    written = write(transcript)
    return Response(written if isinstance(written, str) else orjson.dumps(written), media_type=media_type)
