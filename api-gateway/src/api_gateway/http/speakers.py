"""Routes that give names to the speakers of sessions and jobs; readers and exports show them."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import AfterValidator, BaseModel, StringConstraints
from starlette.requests import Request

from api_gateway.dependencies import ReadingDep, RecordDep, ServicesDep
from api_gateway.http.jobs import JobDep
from api_gateway.http.uploads import model_of
from parlando.ids import one_line

MAX_CHARS: Final = 100
"""Longest label, and longest name."""

router = APIRouter(prefix="/v1/stt", tags=["speakers"])

_READING: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "Missing or invalid API key"},
    404: {"description": "No such session or job"},
    422: {"description": "The id is invalid"},
    503: {"description": "Redis can't be reached"},
}
_REMOVING: Final[dict[int | str, dict[str, Any]]] = {
    **_READING,
    409: {"description": "The speakers were renamed too often"},
    422: {"description": "The label is invalid"},
}
_NAMING: Final[dict[int | str, dict[str, Any]]] = {
    **_READING,
    400: {"description": "The request is invalid"},
    408: {"description": "The body timed out"},
    409: {"description": "Too many speakers have names, or they were renamed too often"},
    413: {"description": "The body is too big"},
    422: {"description": "The label or the name is invalid"},
}

Label = Annotated[
    str,
    AfterValidator(one_line),
    Path(min_length=1, max_length=MAX_CHARS, description="The speaker's label, such as `SPEAKER_00`"),
]


class SpeakerName(BaseModel):
    """The body of a request that gives a speaker a name."""

    name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CHARS),
        AfterValidator(one_line),
    ]


_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SpeakerName.model_json_schema()}},
    }
}


def _document(names: dict[str, str]) -> dict[str, dict[str, str]]:
    return {"names": names}


@router.get("/sessions/{sid}/speakers", responses=_READING)
async def names_of_session(reading: ReadingDep) -> dict[str, dict[str, str]]:
    """The names that were given to the speakers of a session, by their labels. Viewers can read them too."""
    return _document(reading.record.speaker_names)


@router.put("/sessions/{sid}/speakers/{label:path}", responses=_NAMING, openapi_extra=_BODY)
async def name_in_session(
    request: Request, label: Label, record: RecordDep, services: ServicesDep
) -> dict[str, dict[str, str]]:
    """Give a speaker of a session a name. Readers of its annotations get it at once."""
    naming = await model_of(request, SpeakerName)
    keys = services.annotations.of_session(record.sid)
    return _document(await services.annotations.name_speaker(keys, label, naming.name))


@router.delete("/sessions/{sid}/speakers/{label:path}", responses=_REMOVING)
async def unname_in_session(
    label: Label, record: RecordDep, services: ServicesDep
) -> dict[str, dict[str, str]]:
    """Take a speaker's name away, so that the label is shown again."""
    keys = services.annotations.of_session(record.sid)
    return _document(await services.annotations.name_speaker(keys, label, None))


@router.get("/jobs/{job_id}/speakers", responses=_READING)
async def names_of_job(record: JobDep) -> dict[str, dict[str, str]]:
    """The names that were given to the speakers of a job, by their labels."""
    return _document(record.speaker_names)


@router.put("/jobs/{job_id}/speakers/{label:path}", responses=_NAMING, openapi_extra=_BODY)
async def name_in_job(
    request: Request, label: Label, record: JobDep, services: ServicesDep
) -> dict[str, dict[str, str]]:
    """Give a speaker of a job a name, in its result and in all exports."""
    naming = await model_of(request, SpeakerName)
    keys = services.annotations.of_job(record.job)
    return _document(await services.annotations.name_speaker(keys, label, naming.name))


@router.delete("/jobs/{job_id}/speakers/{label:path}", responses=_REMOVING)
async def unname_in_job(label: Label, record: JobDep, services: ServicesDep) -> dict[str, dict[str, str]]:
    """Take a speaker's name away, so that the label is shown again."""
    keys = services.annotations.of_job(record.job)
    return _document(await services.annotations.name_speaker(keys, label, None))
