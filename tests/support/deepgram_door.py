"""A door of Deepgram's live protocol without a connection, and the events that it is given."""

from types import SimpleNamespace
from typing import Any

import orjson

from api_gateway.doors.base import Ack
from api_gateway.doors.deepgram import Listen
from api_gateway.doors.deepgram_multichannel import listen
from api_gateway.handshake import Handshake
from parlando.domain.events import Closed, FinalTranscript, Flushed, Partial, SpeechStarted

RAW = "encoding=linear16&sample_rate=16000"


def handshake(query: str = RAW, **headers: str) -> Handshake:
    pairs = [tuple(part.split("=", 1)) for part in query.split("&") if part]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Handshake(query=dict(pairs), pairs=pairs, headers=named)


def door(query: str = RAW) -> Listen:
    protocol = listen(handshake(query))
    assert isinstance(protocol, Listen)
    opened(protocol)
    return protocol


def opened(protocol: Listen) -> dict[str, str]:
    protocol.request(None)
    session = SimpleNamespace(id="s", engine="moonshine", model="tiny", epoch=1_764_000_000_000)
    headers = dict(protocol.answer_headers(session))
    assert list(protocol.greeting(session)) == []
    return headers


def sent(protocol: Listen, *events: Any) -> list[dict[str, Any]]:
    return [orjson.loads(message) for event in events for message in protocol.event(event)]


def noticed(protocol: Listen, *notices: Any) -> list[dict[str, Any]]:
    return [orjson.loads(message) for notice in notices for message in protocol.notice(notice)]


def silent_until(ms: int) -> Ack:
    return Ack({"received": 0}, 0, ms)


def final(segment: int, text: str, start: float, end: float, covers: float, **more: Any) -> FinalTranscript:
    return FinalTranscript(
        session_id="s",
        segment=segment,
        text=text,
        start=start,
        end=end,
        covers=round(covers * 16_000),
        **more,
    )


def partial(segment: int, text: str, start: float, end: float) -> Partial:
    return Partial(
        session_id="s", segment=segment, text=text, stable="", start=start, end=end, confidence=0.9
    )


def started(segment: int, start: float) -> SpeechStarted:
    return SpeechStarted(session_id="s", segment=segment, start=start)


def flushed(covers: float) -> Flushed:
    return Flushed(session_id="s", covers=round(covers * 16_000))


def closed(duration: float, reason: str = "end") -> Closed:
    return Closed(session_id="s", duration=duration, segments=1, reason=reason)
