"""Routes that read sessions: their state, transcript and events."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response, StreamingResponse

from api_gateway import metrics
from api_gateway.dependencies import ReadingDep, RecordDep, Services, ServicesDep, TranslationQuery
from api_gateway.http.sse import annotations_from, respond, start_of
from api_gateway.http.subtitle_rules import CueRulesDep, SpeakersQuery, written
from parlando.domain.audio import milliseconds, seconds
from parlando.domain.corrections import corrected
from parlando.domain.events import EVENTS, settled
from parlando.domain.subtitles import Format
from parlando.domain.transcript import Transcript
from parlando.store.history import SessionRecord
from parlando.store.relay import Relay

router = APIRouter(prefix="/v1/stt/sessions", tags=["sessions"])

_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "Missing or invalid API key"},
    404: {"description": "No such session"},
    503: {"description": "Redis can't be reached"},
}


@router.get("/{sid}", responses=_ERRORS)
async def session(record: RecordDep) -> dict[str, Any]:
    """A session's state: received and decoded audio, lag, the open segment."""
    opened = record.open_segment
    return {
        "session_id": record.sid,
        "state": record.state,
        "received_ms": milliseconds(record.received),
        "decoded_ms": milliseconds(record.decoded),
        "lag_ms": milliseconds(record.lag),
        "segments": record.segments,
        "seq": record.seq,
        "created_at": record.created,
        "pool": record.pool,
        "worker": record.owner or None,
        "epoch": record.epoch,
        "open_segment": {"segment": opened["index"], "stable": opened["stable"]} if opened else None,
        "config": record.config,
    }


@router.get("/{sid}/transcript", responses={**_ERRORS, 200: {"content": {"text/vtt": {}, "text/plain": {}}}})
async def transcript(
    reading: ReadingDep,
    services: ServicesDep,
    rules: CueRulesDep,
    form: Annotated[Format, Query(alias="format")] = Format.JSON,
    annotations: Annotated[bool, Query(description="Include annotations (format=json only)")] = False,
    translation: TranslationQuery = None,
    speakers: SpeakersQuery = True,
) -> Response:
    """All finals so far. Available while the session is open and until it expires."""
    body = await _transcript(reading.record, services)
    if translation:
        body = body.translated(translation)
    if annotations:
        notes = await services.annotations.dumped(services.annotations.of_session(reading.record.sid))
        body = body.model_copy(update={"annotations": tuple(notes)})
    return await written(body, form, rules, speakers=speakers)


async def _transcript(record: SessionRecord, services: Services) -> Transcript:
    events = [EVENTS.validate_json(event) async for event in services.history.all_events(record.sid)]
    return Transcript.of(
        record.sid,
        state=record.state,
        duration=seconds(record.received),
        title=record.config.get("title") or None,
        segments=corrected(settled(events), await services.history.corrected(record.sid)),
    ).named(record.speaker_names)


@router.get(
    "/{sid}/events",
    responses={**_ERRORS, 200: {"content": {"text/event-stream": {}}}},
    response_class=StreamingResponse,
)
async def events(
    reading: ReadingDep,
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header()] = None,
    annotations: Annotated[bool, Query(description="Include annotations")] = False,
) -> StreamingResponse:
    """Server-sent events: all kept events after `Last-Event-ID`, then live ones and partials.

    If Redis has lost the session and its owner has reopened it, a reader with an old `Last-Event-ID` gets
    `restarted`, and then all events. A viewer whose token is revoked gets `revoked`, and the stream ends.
    """
    sid, token = reading.record.sid, reading.token

    async def admitted() -> bool:
        return await services.viewers.admits(sid, token)

    record = reading.record
    epoch = record.events_epoch if record.later_life else 0
    start = start_of(last_event_id, newest=record.seq, epoch=epoch, annotations=annotations)
    relay = Relay(
        services.history,
        services.channels,
        sid,
        after=start.position.seq,
        annotations=annotations_from(services, services.annotations.of_session(sid), start),
        admitted=admitted if token else None,
    )
    return respond(relay, start, metrics.VIEWERS)
