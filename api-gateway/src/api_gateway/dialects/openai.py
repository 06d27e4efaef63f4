"""Transcripts in the shapes of OpenAI's REST API. Pure."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from parlando import subtitles
from parlando.languages import NAMES
from parlando.transcript import FinalSegment, Transcript


def _segment(number: int, segment: FinalSegment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": f" {segment.text}",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(segment.confidence or 1.0, 1e-6)), 4),
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


def verbose_json(transcript: Transcript) -> dict[str, Any]:
    """`response_format=verbose_json`; language is its English name."""
    spoken: Sequence[FinalSegment] = [s for s in transcript.segments if s.text]
    return {
        "task": "transcribe",
        "language": NAMES.get(transcript.language or "en", transcript.language),
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": [_segment(number, segment) for number, segment in enumerate(spoken)],
    }


FORMATS: Final[dict[str, tuple[str, Callable[[Transcript], Any]]]] = {
    "json": ("application/json", lambda t: {"text": t.text}),
    "verbose_json": ("application/json", verbose_json),
    "text": subtitles.FORMATS["text"],
    "srt": subtitles.FORMATS["srt"],
    "vtt": subtitles.FORMATS["vtt"],
}
"""Format name → media type and writer (of a string, or of what becomes JSON)."""
