"""What clients can say, whatever their dialect. A dialect turns messages into these, events back. Pure."""

from dataclasses import dataclass
from typing import Any, Protocol

from parlando.domain.formats import AudioFormat


@dataclass(frozen=True, slots=True)
class Start:
    """How the session shall be: `params` as in the query, and what they mean for an open session."""

    params: dict[str, Any]
    format: AudioFormat
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio bytes; an `index` asks for an acknowledgement of this chunk."""

    data: bytes
    index: int | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Configure:
    """Changes to the session's config."""

    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flush:
    """Settle what was sent so far."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""


@dataclass(frozen=True, slots=True)
class End:
    """No more audio will come."""


Command = Start | Audio | Configure | Flush | Ping | End


class Dialect(Protocol):
    """How one client talks; one object per connection."""

    def read(self, message: str | bytes) -> Command:
        """What a message says. Raises `InvalidRequestError`."""
        ...

    def event(self, event: bytes) -> str | None:
        """A session's event as a message; None if the dialect has none for it."""
        ...

    def say(self, **message: Any) -> str | None:
        """What the gateway itself has to say (ack, status, pong, error), as a message or None."""
        ...
