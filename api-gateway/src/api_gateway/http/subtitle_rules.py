"""The parameters of subtitles, in queries and forms; and transcripts as responses in a format."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from pydantic import ValidationError
from starlette.responses import Response

from api_gateway.doors.base import explain
from parlando.domain.cues import DEFAULT, CueRules
from parlando.domain.subtitles import FORMATS, Format
from parlando.domain.transcript import Transcript
from parlando.errors import InvalidRequestError

FIELDS: Final = tuple(CueRules.model_fields)
SCHEMA: Final[dict[str, Any]] = CueRules.model_json_schema()["properties"]
"""The JSON schema of the fields, for forms."""


def rules_of(fields: Mapping[str, str | None]) -> CueRules:
    """The rules that the fields of a form state. Raises `InvalidRequestError`."""
    try:
        return CueRules.model_validate({name: fields[name] for name in FIELDS if fields.get(name)})
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error


def _of_query(
    max_line_chars: Annotated[
        int, Query(ge=10, le=200, description="Characters in a line of a subtitle (`srt`, `vtt` …)")
    ] = DEFAULT.max_line_chars,
    max_lines: Annotated[int, Query(ge=1, le=4, description="Lines of a subtitle")] = DEFAULT.max_lines,
    max_cue_s: Annotated[
        float, Query(ge=1, le=30, description="Seconds that a subtitle is shown")
    ] = DEFAULT.max_cue_s,
) -> CueRules:
    return CueRules(max_line_chars=max_line_chars, max_lines=max_lines, max_cue_s=max_cue_s)


CueRulesDep = Annotated[CueRules, Depends(_of_query)]
"""The query parameters of subtitles."""


SpeakersQuery = Annotated[
    bool, Query(description="Whether speakers are named in texts, subtitles and documents (not in `json`)")
]


async def written(
    transcript: Transcript, form: Format, rules: CueRules, *, speakers: bool = True
) -> Response:
    """A transcript in a format. Computed in a thread: the subtitles of ten hours take some seconds.

    `speakers`: whether they are named; JSON always has them.
    """
    media_type, write = FORMATS[form]

    def text() -> str | bytes:
        named = speakers or form is Format.JSON
        return write(transcript if named else transcript.anonymous(), rules)

    return Response(await asyncio.to_thread(text), media_type=media_type)
