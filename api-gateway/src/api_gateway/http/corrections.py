"""Routes that correct the text of a session's segments; what was recognised is kept beside it."""

import secrets
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import AfterValidator, BaseModel, StringConstraints
from starlette.requests import Request

from api_gateway.dependencies import ReadingDep, RecordDep, Services, ServicesDep
from api_gateway.http.uploads import model_of
from parlando.domain.corrections import CORRECTION, latest
from parlando.domain.events import EVENTS, settled
from parlando.errors import ConflictError, InvalidRequestError
from parlando.ids import one_line

MAX_CHARS: Final = 2_000
"""Longest corrected text of a segment."""
MAX_CORRECTIONS: Final = 1_000
"""How often the segments of one session can be corrected."""

router = APIRouter(prefix="/v1/stt/sessions", tags=["corrections"])

_READING: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key"},
    404: {"description": "No such session"},
    503: {"description": "Redis can't be reached"},
}
_REMOVING: Final[dict[int | str, dict[str, Any]]] = {
    **_READING,
    400: {"description": "The session has no final segment with this number, or one without text"},
    409: {"description": "The session was corrected too often"},
    422: {"description": "The number of the segment is invalid"},
}
_CORRECTING: Final[dict[int | str, dict[str, Any]]] = {
    **_REMOVING,
    400: {"description": "The request is invalid, or the session has no such segment with text"},
    408: {"description": "The body timed out"},
    413: {"description": "The body is too big"},
    422: {"description": "The number of the segment or the text is invalid"},
}

Segment = Annotated[int, Path(ge=0, lt=2**31, description="The number of the segment")]


class Correction(BaseModel):
    """The body of a request that corrects a segment."""

    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CHARS),
        AfterValidator(one_line),
    ]


_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Correction.model_json_schema()}},
    }
}


@router.get("/{sid}/corrections", responses=_READING)
async def corrections(reading: ReadingDep, services: ServicesDep) -> dict[str, list[dict[str, Any]]]:
    """The corrected segments of a session, each with what was recognised. Viewers can read them too."""
    notes = await services.history.corrections(reading.record.sid)
    originals = {note["segment"]: note["original"] for note in notes}
    found = sorted(latest(notes).items())
    return {
        "corrections": [
            {"segment": segment, "text": text, "original": originals[segment]} for segment, text in found
        ]
    }


@router.put("/{sid}/corrections/{segment}", responses=_CORRECTING, openapi_extra=_BODY)
async def correct(
    request: Request, segment: Segment, record: RecordDep, services: ServicesDep
) -> dict[str, Any]:
    """Replace the text of a final segment. Readers of the session's annotations get it at once.

    Transcripts and exports have the new text; in JSON `original` is what was recognised.
    """
    correction = await model_of(request, Correction)
    return await _store(services, record.sid, segment, correction.text)


@router.delete("/{sid}/corrections/{segment}", responses=_REMOVING)
async def uncorrect(segment: Segment, record: RecordDep, services: ServicesDep) -> dict[str, Any]:
    """Take a correction away, so that the recognised text is shown again."""
    return await _store(services, record.sid, segment, None)


async def _store(services: Services, sid: str, segment: int, text: str | None) -> dict[str, Any]:
    """Add the correction to the session's annotations, unless it is there already."""
    original = await _recognised(services, sid, segment)
    notes = await services.history.corrections(sid)
    data = {"segment": segment, "text": text, "original": original}
    if latest(notes).get(segment) == text:
        return data
    if len(notes) >= MAX_CORRECTIONS:
        raise ConflictError(f"{sid} was corrected {MAX_CORRECTIONS} times, which is the maximum")
    keys = services.annotations.of_session(sid)
    await services.annotations.add(keys, name=secrets.token_hex(8), kind=CORRECTION, by="owner", data=data)
    return data


async def _recognised(services: Services, sid: str, segment: int) -> str:
    """The text of a final segment as it was recognised."""
    events = [EVENTS.validate_json(event) async for event in services.history.all_events(sid)]
    text = next((final.text for final in settled(events) if final.segment == segment), "")
    if not text:
        raise InvalidRequestError(f"Expected a final segment with text, but {sid} has none number {segment}")
    return text
