"""Transcripts in the formats of whisper-asr-webservice. Pure."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from api_gateway.presenters.openai import segment_fields
from parlando.domain import subtitles
from parlando.domain.cues import CueRules
from parlando.domain.transcript import FinalSegment, Transcript


def _json(transcript: Transcript, rules: CueRules) -> str:
    spoken = [segment for segment in transcript.segments if segment.text]
    body = {
        "language": transcript.language,
        "segments": [_segment(number, segment) for number, segment in enumerate(spoken)],
        "text": transcript.text,
    }
    return orjson.dumps(body).decode()


def _segment(number: int, segment: FinalSegment) -> dict[str, Any]:
    """Whisper's fields; `words` is None unless word times were requested; `speaker` where it is known."""
    words = [
        {"start": word.start, "end": word.end, "word": f" {word.word}", "probability": word.confidence}
        for word in segment.words
    ]
    speaker = {"speaker": segment.speaker} if segment.speaker else {}
    return {**segment_fields(number, segment), "words": words or None, **speaker}


FORMATS: Final[dict[str, Callable[[Transcript, CueRules], str]]] = {
    "txt": subtitles.text,
    "json": _json,
    "srt": subtitles.srt,
    "vtt": subtitles.vtt,
    "tsv": subtitles.tsv,
}
"""Value of `output` → writer."""
