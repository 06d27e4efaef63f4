"""Transcripts in the formats of Deepgram's API. Pure.

Source: Deepgram's API description, and the types of its Python library.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from api_gateway.presenters.error_mapping import mapping_of
from api_gateway.presenters.speakers import speaker_number
from parlando.domain.transcript import UNSPACED, FinalSegment, TimedWord, join
from parlando.errors import ParlandoError

PUNCTUATION: Final = ".,;:!?…\"'()[]{}«»„“”‘’¿¡—–-。、，！？；：「」『』"


@dataclass(frozen=True, slots=True)
class Style:
    """How text is written. `punctuated`: with punctuation and capitals, else neither.

    `speakers`: words have the number of their speaker. `languages`: words have their language.
    """

    punctuated: bool = True
    speakers: bool = False
    languages: bool = False


def plain(word: str) -> str:
    """A word without capitals and surrounding punctuation."""
    return word.strip(PUNCTUATION).lower()


def written(text: str, language: str | None, style: Style) -> str:
    """A text in a style."""
    if style.punctuated:
        return text
    if language in UNSPACED:
        return "".join(character for character in text if character not in PUNCTUATION).lower()
    return " ".join(filter(None, map(plain, text.split())))


def estimated(text: str, start: float, end: float, confidence: float | None) -> list[TimedWord]:
    """The words of a text without word times, each with a share of the time by its length."""
    words = text.split()
    total = sum(len(word) for word in words)
    found, at = [], 0
    for word in words:
        begin = start + (end - start) * at / total
        at += len(word)
        until = start + (end - start) * at / total
        found.append(TimedWord(word=word, start=round(begin, 3), end=round(until, 3), confidence=confidence))
    return found


def timed_words(segment: FinalSegment) -> list[TimedWord]:
    """A segment's words; with estimated times if the engine reports none."""
    if segment.words:
        return list(segment.words)
    return estimated(segment.text, segment.start, segment.end, segment.confidence)


def word_fields(word: TimedWord, segment: FinalSegment, style: Style) -> dict[str, Any]:
    """One word. An unknown confidence counts as 1, because the field is required."""
    fields: dict[str, Any] = {
        "word": plain(word.word) or word.word,
        "start": word.start,
        "end": word.end,
        "confidence": _confidence(word.confidence, segment.confidence),
        "punctuated_word": word.word,
    }
    number = speaker_number(segment.speaker)
    if style.speakers and number is not None:
        fields["speaker"] = number
    if style.languages and segment.language:
        fields["language"] = segment.language
    return fields


def _confidence(*known: float | None) -> float:
    return next((value for value in known if value is not None), 1.0)


def alternative(segments: Sequence[FinalSegment], style: Style) -> dict[str, Any]:
    """The only alternative of a result: the text of segments, with their words."""
    spoken = [segment for segment in segments if segment.text]
    language = next((segment.language for segment in spoken if segment.language), None)
    words = [word_fields(word, segment, style) for segment in spoken for word in timed_words(segment)]
    found: dict[str, Any] = {
        "transcript": join((written(segment.text, segment.language, style) for segment in spoken), language),
        "confidence": mean([_confidence(segment.confidence) for segment in spoken]),
        "words": words,
    }
    if style.languages:
        found["languages"] = _by_frequency(word.get("language") for word in words)
    return found


def mean(values: Sequence[float]) -> float:
    """The mean, rounded; 0 without values."""
    return round(sum(values) / len(values), 4) if values else 0.0


def _by_frequency(languages: Iterable[str | None]) -> list[str]:
    known = [language for language in languages if language]
    return sorted(dict.fromkeys(known), key=lambda language: -known.count(language))


def model_info(engine: str | None, model: str | None) -> dict[str, str]:
    """The model that is used: the pool's name, model and engine."""
    return {
        "name": f"{engine or 'unknown'}-{model or 'unknown'}",
        "version": "1",
        "arch": engine or "unknown",
    }


BAD_REQUEST: Final = "Bad Request"
CODES: Final = {
    "invalid_request": BAD_REQUEST,
    "invalid_audio": BAD_REQUEST,
    "refused_address": "REMOTE_CONTENT_ERROR",
    "internal": "INTERNAL_SERVER_ERROR",
    "not_allowed": "INVALID_AUTH",
    "forbidden": "INSUFFICIENT_PERMISSIONS",
    "at_capacity": "TOO_MANY_REQUESTS",
    "rate_limited": "TOO_MANY_REQUESTS",
    "too_many_sessions": "TOO_MANY_REQUESTS",
    "too_many_jobs": "TOO_MANY_REQUESTS",
    "quota_exceeded": "ASR_PAYMENT_REQUIRED",
    "unavailable": "SERVICE_UNAVAILABLE",
}
"""Error code → Deepgram's `err_code`."""
STATUSES: Final = {"not_allowed": 401, "at_capacity": 429, "quota_exceeded": 402, "invalid_audio": 400}
"""Error code → HTTP status, where Deepgram's differs from ours."""


def err_code(error: ParlandoError) -> str:
    """Deepgram's name of an error."""
    return CODES.get(error.code, error.code.upper())


def status_of(error: ParlandoError) -> int:
    """The HTTP status of an error."""
    return STATUSES.get(error.code, mapping_of(error).status)


def error(code: str, message: str, request_id: str) -> dict[str, str]:
    """The body of an error."""
    return {"err_code": code, "err_msg": message, "request_id": request_id}


def warnings(not_honoured: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The parameters that aren't honoured, with what is done instead."""
    return [
        {"parameter": name, "type": "unsupported_parameter", "message": message}
        for name, message in not_honoured
    ]
