"""HTTP routes for Omi: the audio webhook, and the app's local Whisper."""

import asyncio
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway import metrics
from api_gateway.auth import Principal
from api_gateway.deliveries.signature import secrets_for, verify
from api_gateway.dependencies import Services, ServicesDep, authenticated
from api_gateway.doors.base import explain
from api_gateway.http.job_uploads import check_size
from api_gateway.http.subtitle_rules import rules_of
from api_gateway.http.uploads import body_of, form_of
from api_gateway.live.file_session import send_file, transcribe_file
from api_gateway.presenters.openai import FORMATS
from parlando.domain.config import SessionConfig
from parlando.domain.formats import HIGHEST_RATE, LOWEST_RATE, AudioFormat
from parlando.errors import InvalidRequestError, NotAllowedError, ParlandoError
from parlando.ids import UID_PATTERN, is_uid, new_token
from parlando.store.pools import Place
from parlando.store.sessions import SessionWriter

WAITING: Final = 1000  # sessions of Omi users that may be open beyond the workers' capacity
SETTLE_S: Final = 10  # without audio an open segment is settled; later by the user's usual interval
INFERENCE_WITHIN_S: Final = 55  # the app times out after 60

router = APIRouter(tags=["Omi"])

Uid = Annotated[str, Query(pattern=UID_PATTERN, description="The Omi user")]
Rate = Annotated[int, Query(ge=LOWEST_RATE, le=HIGHEST_RATE, description="Hz; the body is mono s16le")]

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is not audio, or the form has no file"},
    401: {"description": "The signature is wrong"},
    404: {"description": "Unknown key"},
    408: {"description": "The body timed out"},
    413: {"description": "The body is too big"},
    415: {"description": "The audio can't be decoded"},
    422: {"description": "A parameter is invalid"},
    429: {"description": "A limit of the key or owner is reached; send it again after Retry-After"},
    503: {"description": "No capacity, or Redis can't be reached; send it again"},
}
_NO_KEY: dict[int | str, dict[str, Any]] = {404: _ERRORS[404]}


class UnknownKeyError(ParlandoError):
    """Raised for an unknown key. It is a 404, after which Omi doesn't retry."""

    code = "key_not_found"


def _spoken(
    services: ServicesDep,
    language: Annotated[str | None, Query(max_length=200, description="As in the native protocol")] = None,
    task: Annotated[Literal["transcribe", "translate"], Query(description="`translate`: into English")] = (
        "transcribe"
    ),
    translations: Annotated[Literal["", "en"], Query(description="`en`: English as well")] = "",
    hotwords: Annotated[str, Query(max_length=1000, description="Names and terms that may be spoken")] = "",
) -> "_Spoken":
    return _Spoken(services, language, {"task": task, "translations": translations, "hotwords": hotwords})


@dataclass(frozen=True, slots=True)
class _Spoken:
    """The query's options of a webhook's session. They apply when a body opens a session."""

    services: Services
    language: str | None
    options: dict[str, Any]

    async def config(self) -> SessionConfig:
        """The session's config; a language that no engine supports is ignored."""
        language = self.language or self.services.settings.default_language
        return SessionConfig(
            interim=False,
            batch=self.services.settings.omi_mode == "batch",
            language=await self.services.admission.language_or_none(language),
            songs=self.services.settings.omi_songs,
            diarize=self.services.settings.omi_diarize,
            **self.options,
        )


SpokenDep = Annotated[_Spoken, Depends(_spoken)]


async def _caller(request: Request, key: str | None) -> Principal:
    try:
        return await authenticated(request, key)
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
    """Answer Omi's check that the webhook is set up."""
    await _caller(request, key)
    return {"is_setup_completed": True}


@router.post("/streaming", responses=_ERRORS)
@router.post("/omi/{key}/streaming", responses=_ERRORS)
async def streaming(
    request: Request,
    services: ServicesDep,
    spoken: SpokenDep,
    uid: Uid,
    sample_rate: Rate = 16_000,
    key: str | None = None,
) -> JSONResponse:
    """Raw audio of a user: mono s16le, of any length. It is answered when the audio is in Redis."""
    caller = await _caller(request, key)
    body = await body_of(request, services.settings.omi_max_body_mb << 20)
    await _check_signature(request, services, caller, uid, body)
    return await _take(request, services, caller, spoken, uid, sample_rate, body, status="queued")


@router.post("/audio", responses=_ERRORS)
@router.post("/omi/{key}/audio", responses=_ERRORS)
async def audio(
    request: Request,
    services: ServicesDep,
    spoken: SpokenDep,
    uid: Annotated[str | None, Query(pattern=UID_PATTERN)] = None,
    sample_rate: Rate = 16_000,
    key: str | None = None,
) -> JSONResponse:
    """Raw audio of a user, or a whole recording: a WAV, or any file in a multipart form."""
    caller = await _caller(request, key)
    limit = services.settings.omi_max_body_mb << 20
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        if services.settings.omi_signature == "required":
            raise NotAllowedError("Expected a signed body: send the WAV as the body, with X-Omi-Signature")
        form = await form_of(request, min(limit, services.limits.upload_bytes(caller.holder)))
        uid = uid or form.fields.get("uid")
        if form.file is None:
            raise InvalidRequestError("Expected a file in the form, but it has none")
        return await _take_file(request, services, caller, spoken, _required_uid(uid), form.file)
    body = await body_of(request, limit)
    user = _required_uid(uid)
    await _check_signature(request, services, caller, user, body)
    if body[:4] == b"RIFF":
        check_size(len(body), services.limits.upload_bytes(caller.holder))
        return await _take_file(request, services, caller, spoken, user, body)
    return await _take(request, services, caller, spoken, user, sample_rate, body, status="ok")


def _required_uid(uid: str | None) -> str:
    if not uid:
        raise InvalidRequestError("Expected the parameter uid, but it is missing")
    if not is_uid(uid):
        raise InvalidRequestError(f"Expected a uid of letters, digits, _ and -, but got {uid[:40]!r}")
    return uid


async def _check_signature(
    request: Request, services: Services, caller: Principal, uid: str, body: bytes
) -> None:
    policy = services.settings.omi_signature
    header = request.headers.get("x-omi-signature")
    if policy == "off" or (policy == "optional" and header is None):
        return
    secrets = secrets_for(services.settings.omi_signature_secrets, uid)
    if header is None or not verify(header, secrets, uid, body, now=time.time()):
        await services.http_audio.refused_signature(caller.owner, uid)
        metrics.BODIES.labels("bad_signature").inc()
        raise NotAllowedError("X-Omi-Signature is missing, too old, or not made with the webhook's secret")


def _body_key(request: Request, uid: str, rate: int, body: bytes) -> tuple[str, bool]:
    """The key by which a repeat of a body is detected, and whether it is certain.

    The key is the sender's Idempotency-Key (certain), else a hash of the body: equal audio may be new.
    """
    if given := request.headers.get("idempotency-key"):
        return f"k:{given[:200]}", True
    if not any(body[:4096]) and not any(body):  # silence: equal bodies are not repeats
        return f"n:{new_token()}", True
    return f"h:{sha256(f'{uid}:{rate}:'.encode() + body).hexdigest()}", False


async def _take(
    request: Request,
    services: Services,
    caller: Principal,
    spoken: _Spoken,
    uid: str,
    rate: int,
    body: bytes,
    *,
    status: str,
) -> JSONResponse:
    if not body:
        raise InvalidRequestError("Expected audio in the body, but it is empty")
    idle_s = services.settings.omi_idle_s
    await services.limits.sessions.admit(caller.holder, f"omi:{uid}", window_s=idle_s)

    async def opening(sid: str, form: AudioFormat) -> SessionWriter:
        config = await spoken.config()
        return await services.sessions.open(
            sid,
            places=await _places(services, config),
            config=config.model_dump(exclude_none=True),
            token=new_token(),
            key=caller.owner,
            api_key=caller.key_id,
            form=form,
            uid=uid,
            push=bool(services.settings.omi_transcript_webhook),
            window_s=services.settings.omi_idle_s,
            settle_s=SETTLE_S,
            metered=True,
        )

    key, certain = _body_key(request, uid, rate, body)
    taken = await services.http_audio.take(
        caller.owner, uid, rate, body, name=key, named=certain, opening=opening
    )
    metrics.BODIES.labels("repeated" if taken.repeated else "taken").inc()
    if taken.repeated:
        message = "This audio was received before; it was not stored twice."
    else:
        message = (
            f"{len(body) / 2 / rate:.1f} s of audio received; read the transcript at /transcripts/{uid}."
        )
    return _answer(status, uid, rate, body, message, session_id=taken.sid)


async def _places(services: Services, config: SessionConfig) -> list[Place]:
    """Where the session may be opened. Bodies are accepted even if no worker is running."""
    return await services.admission.patient_places(config.languages, config.required_task, waiting=WAITING)


async def _take_file(
    request: Request, services: Services, caller: Principal, spoken: _Spoken, uid: str, body: bytes
) -> JSONResponse:
    await services.limits.quotas.check(caller.holder)
    key, certain = _body_key(request, uid, 0, body)

    async def sending(sid: str) -> None:
        config = await spoken.config()
        await send_file(
            services,
            body,
            places=await _places(services, config),
            caller=caller,
            config=config,
            sid=sid,
            uid=uid,
            push=bool(services.settings.omi_transcript_webhook),
        )

    taken = await services.http_audio.take_file(caller.owner, uid, name=key, named=certain, sending=sending)
    if taken.repeated:
        metrics.BODIES.labels("repeated").inc()
        return _answer("queued", uid, 16_000, body, "This file was received before; it was not stored twice.")
    metrics.BODIES.labels("file").inc()
    message = f"The recording was received; read the transcript at /transcripts/{uid}."
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
async def inference(request: Request, services: ServicesDep, key: str | None = None) -> Response:
    """Transcribe a file in a multipart form, as whisper.cpp's server does. Waits for capacity."""
    caller = await _caller(request, key)
    limit = min(services.settings.omi_max_body_mb << 20, await services.limits.admit_upload(caller.holder))
    form = await form_of(request, limit)
    if form.file is None:
        raise InvalidRequestError("Expected a file in the form, but it has none")
    response_format = form.fields.get("response_format") or "json"
    if response_format not in FORMATS:
        raise InvalidRequestError(
            f"Expected a response_format of {', '.join(FORMATS)}, but got {response_format[:40]!r}"
        )
    rules = rules_of(form.fields)
    config = await _inference_config(services, form.fields)
    transcript = await transcribe_file(
        services,
        form.file,
        caller=caller,
        config=config,
        within_s=INFERENCE_WITHIN_S,
    )
    media_type, write = FORMATS[response_format]
    written = await asyncio.to_thread(write, transcript, rules)
    return Response(written if isinstance(written, str) else orjson.dumps(written), media_type=media_type)


async def _inference_config(services: Services, fields: dict[str, str]) -> SessionConfig:
    translate = fields.get("translate", "").lower() in ("true", "1")
    language = fields.get("language") or services.settings.default_language
    try:
        return SessionConfig(
            interim=False,
            language=await services.admission.language_or_none(language),
            task="translate" if translate else "transcribe",
            prompt=fields.get("prompt", "")[:2000],
            hotwords=fields.get("hotwords", ""),
        )
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error
