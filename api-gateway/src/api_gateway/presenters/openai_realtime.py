"""Server events of OpenAI's Realtime API, without their `event_id`. Pure.

Source: OpenAI's OpenAPI document (`RealtimeServerEvent…`) and the types of its Python library.
"""

from collections.abc import Sequence
from typing import Any, Final

from api_gateway.presenters.error_mapping import mapping_of
from api_gateway.presenters.openai import limit_kind
from api_gateway.presenters.speakers import lettered
from parlando.domain.events import FinalTranscript
from parlando.errors import LimitReachedError, ParlandoError

Event = dict[str, Any]

_ITEM: Final = "conversation.item"
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
INVALID_KEY: Final = "invalid_api_key"
INVALID_KEY_CLOSE: Final = 3000
"""The close code of OpenAI's service for a wrong key."""


def error(
    kind: str, code: str | None, message: str, *, param: str | None = None, cause: str | None = None
) -> Event:
    """An `error`. `cause`: the `event_id` of the client's event that caused it."""
    body = {"type": kind, "code": code, "message": message, "param": param, "event_id": cause}
    return {"type": "error", "error": body}


def error_of(raised: ParlandoError, *, cause: str | None = None) -> Event:
    """The `error` for an exception."""
    code = getattr(raised, "kind", None) or raised.code
    status = mapping_of(raised).status
    kind = "invalid_request_error"
    if raised.code == "not_allowed":
        code = INVALID_KEY
    elif isinstance(raised, LimitReachedError):
        kind, code = limit_kind(raised.code)
    elif raised.code == "at_capacity":
        kind, code = "rate_limit_error", "rate_limit_exceeded"
    elif status >= 500:
        kind = "server_error"
    return error(kind, code, raised.message, param=getattr(raised, "param", None), cause=cause)


def failure(code: str, message: str) -> Event:
    """The `error` about a session that ends early."""
    if code == "quota_exceeded":
        return error(*limit_kind(code), message)
    return error("server_error", code, message)


def session(name: str, body: dict[str, Any]) -> Event:
    """`session.created` and the like."""
    return {"type": name, "session": body}


def cleared() -> Event:
    """The buffer was cleared."""
    return {"type": "input_audio_buffer.cleared"}


def speech_started(item: str, ms: int) -> Event:
    """Speech has begun. `ms`: of all audio of the session, as in `speech_stopped`."""
    return {"type": "input_audio_buffer.speech_started", "audio_start_ms": ms, "item_id": item}


def speech_stopped(item: str, ms: int) -> Event:
    """Turn detection has ended a segment."""
    return {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": ms, "item_id": item}


def committed(item: str, previous: str | None, *, beta: bool) -> list[Event]:
    """The buffer has become an item, which is part of the conversation."""
    body = {
        "id": item,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    names = ["created"] if beta else ["added", "done"]
    return [
        {"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item},
        *({"type": f"{_ITEM}.{name}", "previous_item_id": previous, "item": body} for name in names),
    ]


def delta(item: str, text: str) -> Event:
    """Text that follows the deltas before it."""
    return {"type": f"{_TRANSCRIPTION}.delta", "item_id": item, "content_index": 0, "delta": text}


def completed(
    item: str,
    text: str,
    *,
    duration_ms: int,
    languages: Sequence[str] = (),
    logprobs: Sequence[dict[str, Any]] | None = None,
) -> Event:
    """The transcript of an item: its joined deltas."""
    more: Event = {}
    if languages:
        more["languages"] = [{"code": code} for code in languages]
    if logprobs is not None:
        more["logprobs"] = list(logprobs)
    return {
        "type": f"{_TRANSCRIPTION}.completed",
        "item_id": item,
        "content_index": 0,
        "transcript": text,
        "usage": {"type": "duration", "seconds": duration_ms / 1000},
        **more,
    }


def segment(item: str, final: FinalTranscript) -> Event:
    """A part of an item with its speaker."""
    return {
        "type": f"{_TRANSCRIPTION}.segment",
        "item_id": item,
        "content_index": 0,
        "id": f"seg_{final.segment:04d}",
        "text": final.text,
        "speaker": lettered(final.speaker or ""),
        "start": final.start,
        "end": final.end,
    }


def failed(item: str, code: str, message: str) -> Event:
    """An item that gets no transcript."""
    body = {"type": "transcription_error", "code": code, "message": message, "param": None}
    return {"type": f"{_TRANSCRIPTION}.failed", "item_id": item, "content_index": 0, "error": body}
