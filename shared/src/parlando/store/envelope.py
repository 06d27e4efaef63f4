"""A published or stored message, parsed at most once for all listeners of a process."""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from parlando.domain.analysis import TaskUpdate
from parlando.domain.annotations import Annotation
from parlando.domain.events import (
    Closed,
    Failure,
    FinalTranscript,
    Flushed,
    LanguageFound,
    Partial,
    SpeakersRevised,
    SpeechStarted,
    Status,
)
from parlando.domain.job_events import JobEvent


class AccessChanged(BaseModel):
    """A viewer's access was revoked: followers of the session check theirs again. Never sent to clients."""

    type: Literal["check"] = "check"


Message = (
    SpeechStarted
    | Partial
    | FinalTranscript
    | LanguageFound
    | SpeakersRevised
    | Status
    | Flushed
    | Failure
    | Closed
    | JobEvent
    | Annotation
    | AccessChanged
    | TaskUpdate
)
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


class Envelope:
    """A message: its bytes, and its content, parsed at the first access."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def message(self) -> Message:
        """The parsed message, shared by all listeners. Raises ValueError if its type is unknown."""
        return _MESSAGES.validate_json(self.raw)

    @property
    def type(self) -> str:
        """The type of the message."""
        return self.message.type

    @cached_property
    def seq(self) -> int | None:
        """The position in the history; None if the message is not kept."""
        return getattr(self.message, "seq", None) or None

    @cached_property
    def frame(self) -> bytes:
        """The message as a server-sent event, with its `seq` as the id if it is kept."""
        return self.frame_with("" if self.seq is None else str(self.seq))

    def frame_with(self, position: str) -> bytes:
        """The message as a server-sent event with `position` as its id ("" for none)."""
        identity = f"id: {position}\n" if position else ""
        return f"{identity}event: {self.type}\ndata: ".encode() + self.raw + b"\n\n"
