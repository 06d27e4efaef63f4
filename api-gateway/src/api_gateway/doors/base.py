"""The interface of a live protocol: one class per protocol, one object per connection. Pure.

A protocol decodes a client's messages to commands and encodes a session's events as messages. It also defines
where the key is, the greeting, and the form of errors. Opening, capacity, back-pressure and resuming are the
same for all protocols and are in `api_gateway.live`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import orjson
from pydantic import ValidationError

from api_gateway.handshake import Handshake
from api_gateway.presenters.error_mapping import event_of, mapping_of
from api_gateway.settings import GatewaySettings
from parlando.domain.annotations import Annotation
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import Closed, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.domain.limits import Quota
from parlando.domain.pools import Pool
from parlando.errors import InvalidRequestError, ParlandoError, QuotaExceededError

Message = str | bytes


# --- from the client --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """The session that a client requests.

    `session_id`: None for a new one. `must_be_new`: refuse an id in use, instead of assigning another.
    `resume`: the token to resume `session_id`. `last_seq`: the last event that the client has received.
    `start_at`, `settled_ms`, `segments`: where to continue if Redis has lost the session (docs/protocols.md).
    `uid`: the user to whom the transcript belongs, for the archive.
    `push`: whether finals are sent to the transcript webhook.
    `window_s`: seconds that the session stays open without a client; None for `RESUME_WINDOW_S`.
    `annotations`: whether to send annotations of followers. `last_annotation`: the last one received.
    `preferred_language`: a language that the client always sends; ignored if no engine supports it.
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
    """The parameters of a session. As a client's first message it requests the session; later it changes it.

    `fields`: the same fields as in the query. `format`, `changes`: the format and the config that they set.
    """

    fields: dict[str, Any]
    format: AudioFormat
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio bytes. `index`: number of this message, if the client requests an `Ack` of it.

    `session_id`: the session that the client requests, if this is its first message.
    """

    data: bytes
    index: int | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """A keep-alive message of the client, which may request a `Pong`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Messages that answer a message of the client. They are sent at once.

    Commands before it in the same message are executed first; if one is refused, it isn't sent.
    """

    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Describe:
    """A question for the engines that run, answered with `Described`."""


ClientCommand = Start | Audio | Ping | Reply | Describe | Configure | Flush | End


# --- to the client ----------------------------------------------------------------------------------


class OpenedSession(Protocol):
    """The session that a connection serves."""

    @property
    def id(self) -> str:
        """The session id."""
        ...

    @property
    def format(self) -> AudioFormat:
        """The audio format. A `Start` before the first audio may change it."""
        ...

    @property
    def received(self) -> dict[str, int]:
        """Stored audio: `received` in the client's units, and `received_ms` unless it is a container."""
        ...

    @property
    def resume_token(self) -> str:
        """The token with which the client can resume the session."""
        ...

    @property
    def seq(self) -> int:
        """Number of the event after which all events are sent to the client."""
        ...

    @property
    def epoch(self) -> int:
        """Identifies the numbering of events: when the session was opened, unix milliseconds."""
        ...

    @property
    def resumed(self) -> dict[str, Any]:
        """Of a resumed session: `resumed`, `state`, and `reopened` if Redis had lost it. Else empty."""
        ...

    @property
    def engine(self) -> str | None:
        """The engine of the session's pool; None if it is unknown."""
        ...

    @property
    def model(self) -> str | None:
        """The model of that engine."""
        ...


@dataclass(frozen=True, slots=True)
class Ack:
    """Audio is stored. Units are the client's. Audio before `settled` is in finals that were sent to it."""

    received: dict[str, int]
    settled: int
    settled_ms: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """The gateway has stopped (`throttled`) or resumed (`flowing`) reading. `ms`: waiting audio."""

    status: str
    ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to `Ping`."""


@dataclass(frozen=True, slots=True)
class Described:
    """The answer to `Describe`: the pools that have a transcriber."""

    pools: Sequence[Pool]


@dataclass(frozen=True, slots=True)
class MessageError:
    """A message was invalid, or can't be applied now. The connection stays open."""

    error: ParlandoError


@dataclass(frozen=True, slots=True)
class QuotaLow:
    """Most of a quota of audio is used: `percent` of it. When nothing is left the session ends."""

    quota: Quota
    percent: int

    @property
    def remaining_ms(self) -> int:
        """Milliseconds that are left."""
        return round(self.quota.remaining * 1000)


Notice = Ack | FlowStatus | Pong | Described | MessageError | QuotaLow


@dataclass(frozen=True, slots=True)
class Refusal:
    """The end of a connection on an error: messages, then a close code with its reason."""

    messages: Sequence[Message]
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Denial:
    """The HTTP response to a WebSocket handshake that is refused."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_of(message: Message) -> Any:
    """The value of a JSON message. Raises `InvalidRequestError`."""
    try:
        return orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Expected a JSON object, but got {message[:80]!r}") from error


def explain(error: ValidationError) -> str:
    """The first error of a model's fields: the field, what was expected and what was received."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if not name:
        return first["msg"]
    return f"{name}: {first['msg']}, but got {str(first['input'])[:80]!r}"


# --- a protocol -------------------------------------------------------------------------------------


class ConnectionProtocol(ABC):
    """The protocol of one connection: its handshake and its errors."""

    subprotocol: ClassVar[str | None] = None
    """The WebSocket subprotocol, selected if the client offers it."""

    refuses_handshake: ClassVar[bool] = False
    """Whether a wrong key fails the handshake, instead of being reported after it."""

    opens_before_answer: ClassVar[bool] = False
    """Whether the session is opened before the handshake is answered. Every error until then is an HTTP
    response (`denial`), and `answer_headers` is sent. There can be no first message then."""

    keyless: ClassVar[bool] = False
    """Whether clients can't send a key. Then those of `KEYLESS_NETWORKS` are served, on behalf of a key."""

    opens_when_needed: ClassVar[bool] = False
    """Whether the session is opened with the first command that needs one, instead of before the client's
    first message. `Ping` and `Describe` need none, and neither does a message without a command."""

    idle_s: float | None = None
    """Seconds without a message after which the session ends; None for `IDLE_TIMEOUT_S`."""

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.claims: Mapping[str, Any] = {}
        """The claims of the access token that the client has sent as its key; set before `request`."""

    @property
    def selected_subprotocol(self) -> str | None:
        """The subprotocol of the handshake's answer: `subprotocol`, if the client offers it."""
        return self.subprotocol if self.subprotocol in self.handshake.subprotocols else None

    @property
    def key(self) -> str | None:
        """The API key that the client sends; None if it sends none. On TCP read after the first message."""
        return self.handshake.token

    @property
    def first_message_s(self) -> float:
        """Seconds to wait for a first message, which may name the session, before one is opened."""
        return 0.0

    def verify(self, settings: GatewaySettings) -> None:
        """Check more of the handshake than the key, such as a signature. Raises `NotAllowedError`."""
        return

    def denial(self, error: ParlandoError) -> Denial:
        """The HTTP response that refuses the handshake on `error`."""
        status = 403 if error.code == "not_allowed" else mapping_of(error).status
        return Denial(status, orjson.dumps(event_of(error)))

    @abstractmethod
    def refusal(self, error: ParlandoError) -> Refusal:
        """The messages and the close code that end the connection on `error`."""


class LiveProtocol(ConnectionProtocol):
    """The protocol of one session."""

    def answer_headers(self, session: OpenedSession) -> Sequence[tuple[str, str]]:
        """Headers of the handshake's answer, if `opens_before_answer`: ASCII, without line breaks."""
        return ()

    @abstractmethod
    def request(self, first: ClientCommand | None) -> SessionRequest:
        """The session that the client requests by its handshake and its first command, if there is one."""

    def greeting(self, session: OpenedSession) -> Sequence[Message]:
        """The messages to send when the session is open."""
        return ()

    @abstractmethod
    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Decode a message of the client.

        Raises
        ------
        InvalidRequestError
            if the message is invalid. `commands` converts the errors of decoders too.

        """

    def commands(self, message: Message) -> Sequence[ClientCommand]:
        """The commands of a message. Raises `InvalidRequestError` for what `read` can't decode."""
        try:
            return self.read(message)
        except (ValueError, KeyError) as error:  # of JSON, base64, UTF-8, pydantic, or a missing field
            raise InvalidRequestError(f"The message can't be decoded: {str(error)[:200]}") from error

    @abstractmethod
    def event(self, event: SessionEvent | Annotation) -> Sequence[Message]:
        """Encode a session's event, or an annotation if the request asked for them."""

    def notice(self, notice: Notice) -> Sequence[Message]:
        """Encode a notice of the gateway itself."""
        return ()

    def end_of(self, closed: Closed) -> tuple[int, str]:
        """The close code and its reason after the session's last event."""
        if closed.reason == QuotaExceededError.code:
            spent = QuotaExceededError("", limit="", of="", retry_after_s=0)
            refusal = self.refusal(spent)
            return refusal.code, refusal.reason
        return self.close_code(closed), self.close_reason(closed)

    def close_code(self, closed: Closed) -> int:
        """The close code after the session's last event, unless a quota has ended it."""
        return {"invalid_audio": 1003, "place_reclaimed": 1013}.get(closed.reason, 1000)

    def close_reason(self, closed: Closed) -> str:
        """The reason in the close frame after the session's last event: up to 123 bytes."""
        return ""


class SplitProtocol(ConnectionProtocol):
    """The protocol of a connection that carries several channels, each with a session of its own.

    Each channel has a `LiveProtocol` object; what they send goes to the same client, message by message. The
    connection ends when the sessions of all channels have closed, or on the first error.
    """

    @abstractmethod
    def channels(self, first: Message | None) -> Sequence[LiveProtocol] | None:
        """The protocols of the channels, 1 to `MAX_CHANNELS`; None if a message that names them must follow.

        `first`: the next of the client's first messages, if the protocol has `first_message_s`; else None.

        Raises
        ------
        InvalidRequestError

        """

    @abstractmethod
    def split(self, message: Message) -> Sequence[tuple[int, Message]]:
        """The parts of a message: the index of a channel, and the message for its protocol.

        Doesn't raise: a message that can't be understood goes to one channel, whose protocol refuses it.
        """
