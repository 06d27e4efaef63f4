"""Events and messages of a session, for tests of the code that reads them."""

from typing import Any

from api_gateway.doors.base import Message
from api_gateway.doors.native import Native
from api_gateway.handshake import Handshake
from parlando.domain.events import Closed, FinalTranscript, Partial, encode
from parlando.store.envelope import Envelope


def final(seq: int = 1, segment: int = 0, text: str = "", **more: Any) -> FinalTranscript:
    fields = {"start": 0.0, "end": 0.0, **more}
    return FinalTranscript(session_id="s", seq=seq, segment=segment, text=text, **fields)


def partial(segment: int, text: str, stable: str = "") -> Partial:
    return Partial(session_id="s", segment=segment, text=text, stable=stable, start=0.0, end=0.0)


def closed(seq: int = 9, reason: str = "end") -> Closed:
    return Closed(session_id="s", seq=seq, duration=0.0, segments=1, reason=reason)


def enveloped(event: FinalTranscript | Partial | Closed) -> Envelope:
    return Envelope(encode(event))


def native(**query: str) -> Native:
    """The native protocol for a connection with this query."""
    return Native(Handshake(query=query))


def only(messages: Any) -> Message:
    """The only message or command of a sequence."""
    [message] = messages
    return message
