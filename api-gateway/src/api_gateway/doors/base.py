"""What a live protocol is: one class per protocol, one object per connection. Pure.

A protocol turns a client's messages into commands and a session's events into messages, and says how the key
comes, what greets a client and how errors look. Opening, capacity, back-pressure and resuming are the same
for all and lie in `api_gateway.live`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from api_gateway.handshake import Handshake
from parlando.domain.annotations import Annotation
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import Closed, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.errors import ParlandoError

Message = str | bytes


# --- from the client --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """The session that a client asks for.

    `session_id`: None for a new one. `must_be_new`: whether an id that is in use is refused; else another is
    given.
    `resume`: the token with which it comes back to `session_id`; `last_seq` is the last event that it has.
    `start_at`, `settled_ms`, `segments`: where it goes on if Redis has lost the session (docs/protocols.md).
    `uid`: whose transcript it is, for the archive. `push`: whether finals go to the transcript webhook.
    `window_s`: how long the session lives on without a client; None for `RESUME_WINDOW_S`.
    `annotations`: whether it wants what followers say of the session; `last_annotation` is the last that it
    has.
    `preferred_language`: one that the client always sends, whatever is spoken: used if the engine knows it.
    """

    session_id: str | None = None
    must_be_new: bool = False
    resume: str | None = None
    last_seq: int = 0
    start_at: int | None = None
    settled_ms: int = 0
    segments: int = 0
    uid: str = ""
    push: bool = False
    window_s: float | None = None
    annotations: bool = False
    last_annotation: int = 0
    preferred_language: str | None = None
    config: SessionConfig = field(default_factory=SessionConfig)
    format: AudioFormat = field(default_factory=AudioFormat)


@dataclass(frozen=True, slots=True)
class Start:
    """How the session shall be. As a client's first message it becomes the request; later ones change the
    session.

    `fields`: as in the query. `format` and `changes`: what they mean for a session that is open.
    """

    fields: dict[str, Any]
    format: AudioFormat
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio bytes. An `index` asks for an acknowledgement of this message; `session_id` may name the
    session.
    """

    data: bytes
    index: int | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """The client asks whether the gateway is there, or shows that it is."""


ClientCommand = Start | Audio | Ping | Configure | Flush | End


# --- to the client ----------------------------------------------------------------------------------


class OpenedSession(Protocol):
    """The session that a connection serves."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def format(self) -> AudioFormat:
        """How its bytes carry audio. A `Start` may change it before the first audio."""
        ...

    @property
    def received(self) -> dict[str, int]:
        """What is stored: `received` in the client's units, and `received_ms` where that can be told."""
        ...

    @property
    def resume_token(self) -> str:
        """The token with which the client can come back."""
        ...

    @property
    def seq(self) -> int:
        """The event behind which the client is sent all others."""
        ...

    @property
    def epoch(self) -> int:
        """Of the events' numbering: when the session was opened, unix milliseconds."""
        ...

    @property
    def resumed(self) -> dict[str, Any]:
        """How it came back: `resumed`, `state`, and `reopened` if Redis had lost it. Empty for a new one."""
        ...

    @property
    def engine(self) -> str | None:
        """The engine that a transcriber of the cluster runs; None if there is none."""
        ...

    @property
    def model(self) -> str | None:
        """Its model."""
        ...


@dataclass(frozen=True, slots=True)
class Ack:
    """Audio is stored. Units are the client's; before `settled` all audio is in finals that it was sent."""

    received: dict[str, int]
    settled: int
    settled_ms: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """The gateway has stopped (`throttled`) or resumed (`flowing`) reading. `ms`: audio that waits."""

    status: str
    ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to `Ping`."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A message that was not understood, or can't be obeyed now. The connection goes on."""

    error: ParlandoError


Notice = Ack | FlowStatus | Pong | Mistake


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a connection ends on an error: messages, then a close code with its reason."""

    messages: Sequence[Message]
    code: int
    reason: str


# --- a protocol -------------------------------------------------------------------------------------


class LiveProtocol(ABC):
    """One client's protocol. Errors of the client are raised as `InvalidRequestError`."""

    subprotocol: ClassVar[str | None] = None
    """The WebSocket subprotocol that is chosen if the client offers it."""

    refuses_handshake: ClassVar[bool] = False
    """Whether a wrong key fails the handshake, instead of being told after it."""

    idle_s: ClassVar[float | None] = None
    """Silence of a client after which its session ends; None for `IDLE_TIMEOUT_S`."""

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake

    @property
    def key(self) -> str | None:
        """The key that the client offers; None if it offers none."""
        return self.handshake.token

    @property
    def first_message_s(self) -> float:
        """How long to wait for a first message, which may say what session is wanted, before one is
        opened.
        """
        return 0.0

    @abstractmethod
    def request(self, first: ClientCommand | None) -> SessionRequest:
        """The session that the client wants, by its handshake and its first command."""

    def greeting(self, session: OpenedSession) -> Sequence[Message]:
        """What the client is told when its session is open."""
        return ()

    @abstractmethod
    def read(self, message: Message) -> Sequence[ClientCommand]:
        """What a message says."""

    @abstractmethod
    def event(self, event: SessionEvent | Annotation) -> Sequence[Message]:
        """A session's event as messages, or an annotation, if the request asked for them."""

    def notice(self, notice: Notice) -> Sequence[Message]:
        """What the gateway itself says, as messages."""
        return ()

    @abstractmethod
    def refusal(self, error: ParlandoError) -> Refusal:
        """How the connection ends on `error`."""

    def close_code(self, closed: Closed) -> int:
        """The close code behind the session's last event."""
        return 1003 if closed.reason == "invalid_audio" else 1000
