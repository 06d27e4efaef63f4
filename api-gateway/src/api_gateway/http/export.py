"""Transcripts that a client sends, in a format: corrected ones, and those that the cluster no longer has."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api_gateway.dependencies import PrincipalDep
from api_gateway.http.subtitle_rules import CueRulesDep, SpeakersQuery, written
from api_gateway.http.uploads import body_of
from parlando.domain.subtitles import Format
from parlando.domain.transcript import FinalSegment, TimedWord, Transcript

MAX_BODY: Final = 32 << 20  # bytes: with word times, some forty hours of speech
MAX_SEGMENTS: Final = 100_000
MAX_TEXT: Final = 20_000  # characters of a segment

_Time = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SentWord(_Sent):
    """A word with its times in seconds."""

    word: str = Field(max_length=1000)
    start: _Time
    end: _Time


class SentSegment(_Sent):
    """A segment as transcripts have it; further fields are ignored."""

    start: _Time
    end: _Time
    text: str = Field(max_length=MAX_TEXT)
    words: list[SentWord] = Field(default=[], max_length=MAX_TEXT)
    speaker: str | None = Field(None, max_length=200)
    speaker_name: str | None = Field(None, max_length=200)
    confidence: float | None = Field(None, ge=0, le=1)
    language: str | None = Field(None, max_length=20)


class SentTranscript(_Sent):
    """What `POST /v1/stt/export` takes. `language`: of the segments that name none."""

    title: str | None = Field(None, max_length=300)
    language: str | None = Field(None, max_length=20)
    segments: list[SentSegment] = Field(max_length=MAX_SEGMENTS)


router = APIRouter(prefix="/v1/stt", tags=["sessions"])

_SCHEMA: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["segments"],
                    "properties": {
                        "title": {"type": "string", "maxLength": 300},
                        "language": {"type": "string", "maxLength": 20},
                        "segments": {
                            "type": "array",
                            "maxItems": MAX_SEGMENTS,
                            "items": {
                                "type": "object",
                                "required": ["start", "end", "text"],
                                "properties": {
                                    "start": {"type": "number", "minimum": 0},
                                    "end": {"type": "number", "minimum": 0},
                                    "text": {"type": "string", "maxLength": MAX_TEXT},
                                    "speaker": {"type": "string", "maxLength": 200},
                                    "speaker_name": {"type": "string", "maxLength": 200},
                                    "words": {"type": "array", "items": {"type": "object"}},
                                },
                            },
                        },
                    },
                }
            }
        },
    }
}


@router.post(
    "/export",
    responses={
        200: {"content": {"application/json": {}, "text/plain": {}, "text/vtt": {}, "text/csv": {}}},
        401: {"description": "Missing or invalid API key"},
        408: {"description": "The body timed out"},
        413: {"description": "The body is too big"},
        422: {"description": "The transcript or a parameter is invalid"},
    },
    openapi_extra=_SCHEMA,
)
async def export(
    request: Request,
    caller: PrincipalDep,
    rules: CueRulesDep,
    form: Annotated[Format, Query(alias="format")] = Format.TEXT,
    speakers: SpeakersQuery = True,
) -> Response:
    """Write a transcript that the body has in a format. Nothing is stored."""
    transcript = await asyncio.to_thread(_parsed, await body_of(request, MAX_BODY))
    return await written(transcript, form, rules, speakers=speakers)


def _parsed(body: bytes) -> Transcript:
    try:
        sent = SentTranscript.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False)[:10]
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error
    segments = [
        FinalSegment(
            **each.model_dump(exclude={"words", "end", "language"}),
            segment=number,
            language=each.language or sent.language,
            end=max(each.start, each.end),
            words=tuple(TimedWord(**word.model_dump()) for word in each.words),
        )
        for number, each in enumerate(sorted(sent.segments, key=lambda each: each.start))
    ]
    return Transcript.of(
        "export",
        state="completed",
        duration=max((each.end for each in segments), default=0.0),
        segments=segments,
        language=sent.language,
        title=sent.title,
    )
