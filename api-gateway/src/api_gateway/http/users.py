"""Routes of users (`uid`): their transcripts, usage, and the state of their devices."""

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import JSONResponse, Response

from api_gateway.deliveries.archive import explained
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.moments import moment_of
from api_gateway.http.subtitle_rules import CueRulesDep, written
from api_gateway.presenters.session import Document, Place, iso, newest_sessions, place_of
from parlando.domain.audio import BYTES_PER_SAMPLE, seconds
from parlando.domain.subtitles import Format
from parlando.domain.transcript import FinalSegment, Transcript
from parlando.errors import SessionNotFoundError
from parlando.ids import UID_PATTERN
from parlando.store.usage_keys import today

router = APIRouter(tags=["users"])

_CURSOR_PATTERN: Final = r"^[0-9]{1,15}(-[A-Za-z0-9][A-Za-z0-9_.:-]{0,127})?$"
LAST_MS: Final = 253_402_300_799_000  # the end of the year 9999, unix milliseconds
Uid = Annotated[str, Path(pattern=UID_PATTERN)]
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A time is invalid"},
    401: {"description": "Missing or invalid API key"},
    503: {"description": "Redis or the archive can't be reached"},
}


@router.get("/transcripts/{uid}", responses={**_ERRORS, 200: {"content": {"text/vtt": {}, "text/plain": {}}}})
async def transcripts(
    uid: Uid,
    caller: PrincipalDep,
    services: ServicesDep,
    rules: CueRulesDep,
    since: Annotated[str | None, Query(description="Only sessions that began at this time or later")] = None,
    before: Annotated[
        str | None, Query(pattern=_CURSOR_PATTERN, description="`next` of the previous page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    form: Annotated[Format, Query(alias="format")] = Format.JSON,
) -> Response:
    """A user's transcripts, newest first: of live sessions, and those in the archive.

    As text or subtitles they are joined, oldest first.
    """
    since_ms = moment_of(since) if since else 0
    if before is None:
        until = (round(time.time() * 1000) + 3_600_000, "")
    else:
        ms, _, sid = before.partition("-")
        until = (min(int(ms), LAST_MS), sid)
    page = await _page(services, caller.owner, uid, since_ms=since_ms, until=until, limit=limit + 1)
    more, page = len(page) > limit, page[:limit]
    if form != "json":
        return await written(_joined(uid, page), form, rules)
    return JSONResponse(
        {
            "uid": uid,
            "count": len(page),
            "transcripts": [{k: v for k, v in d.items() if k not in ("owner", "started_ms")} for d in page],
            "next": "{}-{}".format(*place_of(page[-1])) if more else None,
        }
    )


async def _page(
    services: Services, key: str, uid: str, *, since_ms: int, until: Place, limit: int
) -> list[Document]:
    """Up to `limit` documents before `until`, newest first.

    For a session in Redis and in the archive, Redis is used.
    """
    fresh = await newest_sessions(services.history, key, uid, since_ms=since_ms, until=until, limit=limit)
    known = {document["session_id"] for document in fresh}
    old: list[Document] = []
    with explained():
        async for document in services.archive.newest_first(uid, owner=key[:16], until_ms=until[0]):
            if document["started_ms"] < since_ms or len(old) >= limit:
                break
            if document["session_id"] not in known and place_of(document) < until:
                old.append(document)
    return sorted(fresh + old, key=place_of, reverse=True)[:limit]


def _joined(uid: str, page: list[Document]) -> Transcript:
    """Several sessions as one transcript, oldest first. The first session begins at 0 s."""
    segments: list[FinalSegment] = []
    begin = min((document["started_ms"] for document in page), default=0)
    for document in reversed(page):
        shift = (document["started_ms"] - begin) / 1000
        segments += [
            FinalSegment(
                segment=len(segments) + number,
                start=round(segment["start"] + shift, 3),
                end=round(segment["end"] + shift, 3),
                text=segment["text"],
                language=segment.get("language"),
                speaker=segment.get("speaker"),
                speaker_name=segment.get("speaker_name"),
                translations=segment.get("translations"),
                original=segment.get("original"),
            )
            for number, segment in enumerate(document["segments"])
        ]
    return Transcript.of(uid, state="joined", duration=segments[-1].end if segments else 0, segments=segments)


@router.delete("/transcripts/{uid}", responses=_ERRORS)
async def forget(uid: Uid, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Delete a user's transcripts in Redis and the archive, and the user's live sessions."""
    owner = caller.owner
    await services.http_audio.discard(caller.owner, uid)
    sids = await services.history.sessions_of(owner, uid)
    for sid in sids:
        await services.history.forget(sid)
    with explained():
        archived = await services.archive.delete(uid, owner=owner[:16])
    return {"uid": uid, "deleted_sessions": len(sids), "deleted_from_archive": archived}


@router.get("/stats", responses=_ERRORS)
async def stats(caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Usage of the caller's owner in the current month, and the cluster's queue."""
    owner, last = caller.owner, today()
    running = f"{last:%Y-%m}"
    used = await services.usage.total(owner, last.replace(day=1), last)
    files, audio_ms = used.files + used.earlier_files, used.audio_ms
    billed_s = await services.usage.billed_ms(running) / 1000
    transcribers = await services.admission.transcribers()
    open_sessions = await services.sessions.waiting()
    price = services.settings.price_per_hour_usd
    return {
        "current_month": {
            "month": running,
            "files_processed": files,
            "audio_seconds": round(audio_ms / 1000, 3),
            "audio_hours": round(audio_ms / 3_600_000, 4),
            "total_cost_usd": round(audio_ms / 3_600_000 * price, 4),
            "price_per_hour_usd": price,
            "billed_seconds": round(billed_s, 3),
        },
        "queue": {
            "open_sessions": open_sessions,
            "depth": max(0, open_sessions - sum(worker["sessions"] for worker in transcribers)),
            "lag_ms": max((worker["lag_ms"] for worker in transcribers), default=0),
        },
        "active_users": await services.history.active_users(services.settings.omi_idle_s, owner),
    }


@router.get(
    "/stats/{uid}", responses={**_ERRORS, 404: {"description": "Nothing was received from this user"}}
)
async def user_stats(uid: Uid, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """The state of a user's uploads: last body, counts, repeats, wrong signatures, waiting audio."""
    state = await services.http_audio.state(caller.owner, uid)
    if state is None:
        raise SessionNotFoundError(f"Nothing was received from user {uid} in the last week")
    waiting, session_state = 0, None
    if state.sid:
        try:
            record = await services.history.record(state.sid)
            session_state = record.state
            waiting = max(0, record.received - record.decoded) if record.state != "closed" else 0
        except SessionNotFoundError:
            session_state = "expired"
    return {
        "uid": uid,
        "buffer_size_bytes": waiting * BYTES_PER_SAMPLE,
        "buffer_duration_seconds": seconds(waiting),
        "sample_rate": state.sample_rate,
        "last_recognition": state.song,
        "session_id": state.sid or None,
        "session_state": session_state,
        "last_body_at": iso(state.last) if state.last else None,
        "bodies": state.bodies,
        "bodies_per_minute": state.per_minute,
        "repeats": state.repeats,
        "signature_failures": state.signature_failures,
    }


@router.delete("/buffer/{uid}", responses=_ERRORS)
async def clear_buffer(uid: Uid, caller: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Discard the user's audio that isn't decoded yet. The next body begins a new session."""
    return {
        "uid": uid,
        "status": "cleared" if await services.http_audio.discard(caller.owner, uid) else "empty",
    }
