"""A session's transcript as a document with wall-clock times, for the archive and for users."""

from datetime import UTC, datetime
from typing import Any

from parlando.domain.audio import seconds
from parlando.domain.corrections import corrected
from parlando.domain.events import EVENTS, settled
from parlando.domain.transcript import FinalSegment, text_of
from parlando.domain.wallclock import WallClock
from parlando.errors import SessionNotFoundError
from parlando.store.history import History, SessionRecord

Document = dict[str, Any]
Place = tuple[int, str]
"""Where a document stands in a user's list: when its session began (unix milliseconds), and its id."""


def place_of(document: Document) -> Place:
    """The place of a document."""
    return int(document["started_ms"]), str(document["session_id"])


def iso(unix_ms: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def document_of(history: History, sid: str) -> Document:
    """The document of a session that is in Redis.

    Raises
    ------
    SessionNotFoundError

    """
    record = await history.record(sid)
    events = [EVENTS.validate_json(event) async for event in history.all_events(sid)]
    segments = corrected(settled(events), await history.corrected(sid))
    finals = [segment.named(record.speaker_names) for segment in segments if segment.text]
    return _document(record, finals, await _clock(history, record))


async def _clock(history: History, record: SessionRecord) -> WallClock:
    return WallClock(
        await history.arrivals(record.sid),
        end_ms=round(seconds(record.received) * 1000),
        opened_ms=record.opened_ms,
    )


def _document(record: SessionRecord, finals: list[FinalSegment], clock: WallClock) -> Document:
    started = clock.at(0.0)
    segments = [
        {
            **final.model_dump(exclude_none=True, exclude_defaults=True),
            "segment": final.segment,
            "start": final.start,
            "started_at": iso(clock.at(final.start)),
            "ended_at": iso(clock.at(final.end)),
        }
        for final in finals
    ]
    return {
        "session_id": record.sid,
        "uid": record.uid,
        "owner": record.key[:16],
        "state": record.state,
        "started_ms": started,
        "started_at": iso(started),
        "ended_at": iso(clock.at(seconds(record.received))),
        "duration": seconds(record.received),
        "language": next((final.language for final in finals if final.language), None),
        "text": text_of(finals),
        "segments": segments,
    }


async def newest_sessions(
    history: History, key: str, uid: str, *, since_ms: int, until: Place, limit: int
) -> list[Document]:
    """Up to `limit` documents of a user's sessions that are still in Redis, newest first.

    Only those that began from `since_ms` (unix milliseconds) on, and that stand before `until`. `key`: the
    hashed API key.
    """
    documents: list[Document] = []
    for sid in await history.sessions_of(key, uid):
        if len(documents) >= limit:
            break
        try:
            document = await document_of(history, sid)
        except SessionNotFoundError:
            await history.unlist(key, uid, sid)
            continue
        if since_ms <= document["started_ms"] and place_of(document) < until:
            documents.append(document)
    return documents
