"""Transcripts in the formats of OpenAI's REST API. Pure.

Source: OpenAI's OpenAPI document, `/audio/transcriptions`, and the types of its Python library.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from api_gateway.presenters.speakers import lettered
from parlando.domain import subtitles
from parlando.domain.cues import CueRules
from parlando.domain.languages import NAMES
from parlando.domain.transcript import FinalSegment, TimedWord, Transcript, text_of
from parlando.errors import InvalidRequestError


class ParamError(InvalidRequestError):
    """Raised when a parameter of OpenAI's API is invalid. `kind` is sent as `code`, `param` as `param`."""

    def __init__(self, message: str, param: str | None, *, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.kind = code


def segment_fields(number: int, segment: FinalSegment) -> dict[str, Any]:
    """A segment with the ten fields of Whisper's segments. `tokens` is empty: the engines report none."""
    raw = segment.text.encode()
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": f" {segment.text}",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(_logprob(segment.confidence), 4),
        "compression_ratio": round(len(raw) / len(zlib.compress(raw)), 4) if raw else 0.0,
        "no_speech_prob": 0.0,
    }


def _logprob(probability: float | None) -> float:
    return math.log(max(probability or 1.0, 1e-6))


def _with_text(transcript: Transcript) -> list[FinalSegment]:
    return [segment for segment in transcript.segments if segment.text]


def usage(seconds: int) -> dict[str, Any]:
    """The usage object. `seconds`: of audio, rounded up."""
    return {"type": "duration", "seconds": seconds}


def logprobs(segments: Iterable[FinalSegment], *, first: bool = True) -> list[dict[str, Any]]:
    """Log probabilities by word; the joined tokens are the text. `first`: whether the text begins here."""
    words: list[TimedWord] = [word for segment in segments for word in segment.words]
    tokens = [word.word if first and not number else f" {word.word}" for number, word in enumerate(words)]
    return [
        {"token": token, "logprob": round(_logprob(word.confidence), 6), "bytes": list(token.encode())}
        for token, word in zip(tokens, words, strict=True)
    ]


def token_logprobs(text: str, words: Iterable[TimedWord]) -> list[dict[str, Any]]:
    """Log probabilities of the words of `text`, whose joined tokens are `text`, spaces included."""
    tokens: list[tuple[str, float | None]] = []
    at = 0
    for word in words:
        if (found := text.find(word.word, at)) >= 0:
            end = found + len(word.word)
            tokens.append((text[at:end], word.confidence))
            at = end
    if tokens and at < len(text):
        tokens[-1] = (tokens[-1][0] + text[at:], tokens[-1][1])
    return [
        {"token": token, "logprob": round(_logprob(confidence), 6), "bytes": list(token.encode())}
        for token, confidence in tokens
    ]


def verbose_json(
    transcript: Transcript, *, task: str = "transcribe", granularities: Sequence[str] = ("segment",)
) -> dict[str, Any]:
    """The body of `response_format=verbose_json`. `language` is the English name."""
    return {
        "task": task,
        "language": NAMES.get(transcript.language or "en", transcript.language),
        "duration": transcript.duration,
        "text": transcript.text,
        **times(transcript.segments, granularities),
    }


def times(segments: Sequence[FinalSegment], granularities: Sequence[str]) -> dict[str, Any]:
    """The requested granularities: `segments`, `words`, both, or none."""
    found: dict[str, Any] = {}
    if "segment" in granularities:
        spoken = [segment for segment in segments if segment.text]
        found["segments"] = [segment_fields(number, segment) for number, segment in enumerate(spoken)]
    if "word" in granularities:
        found["words"] = [
            {"word": word.word, "start": word.start, "end": word.end}
            for segment in segments
            for word in segment.words
        ]
    return found


def diarized_segment(number: int, segment: FinalSegment, speakers: Sequence[str] = ()) -> dict[str, Any]:
    """A segment with its speaker: the name that the request has for its number, or a letter."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number:03d}",
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "speaker": lettered(segment.speaker or "SPEAKER_00", speakers),
    }


def diarized_json(transcript: Transcript, speakers: Sequence[str] = ()) -> dict[str, Any]:
    """The body of `response_format=diarized_json`."""
    segments = [diarized_segment(n, segment, speakers) for n, segment in enumerate(_with_text(transcript), 1)]
    return {
        "task": "transcribe",
        "duration": transcript.duration,
        "text": text_of(transcript.segments),
        "segments": segments,
    }


def error(message: str, *, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def limit_kind(code: str) -> tuple[str, str]:
    """OpenAI's `type` and `code` of a limit that is reached: of its quota, or of its rate limits."""
    if code == "quota_exceeded":
        return "insufficient_quota", "insufficient_quota"
    return "requests", "rate_limit_exceeded"


FORMATS: Final[dict[str, tuple[str, Callable[[Transcript, CueRules], Any]]]] = {
    "json": ("application/json", lambda t, _: {"text": t.text}),
    "verbose_json": ("application/json", lambda t, _: verbose_json(t)),
    "text": ("text/plain; charset=utf-8", subtitles.one_line),
    "srt": subtitles.FORMATS[subtitles.Format.SRT],
    "vtt": subtitles.FORMATS[subtitles.Format.VTT],
}
"""Format name → media type, and function that returns a string or an object to encode as JSON."""
