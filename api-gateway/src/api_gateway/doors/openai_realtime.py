"""Transcription by OpenAI's Realtime API, `WS /v1/realtime` (docs/dialects/openai-realtime.md). Pure.

Two shapes: GA, and beta if the client asks for it in a header or subprotocol. Invalid events are answered by
an `error` event and don't close the connection.
"""

import base64
from collections.abc import Sequence
from typing import Any, Final

import orjson

from api_gateway.doors.base import (
    Audio,
    ClientCommand,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    OpenedSession,
    Refusal,
    Reply,
    SessionRequest,
    Start,
)
from api_gateway.doors.openai_conversation import Conversation
from api_gateway.handshake import Handshake
from api_gateway.presenters import openai_realtime as events
from api_gateway.presenters.error_mapping import mapping_of
from api_gateway.presenters.openai import ParamError
from api_gateway.presenters.openai_session import RealtimeSession, beta_changes, ga_changes
from parlando.domain.annotations import Annotation
from parlando.domain.commands import Configure, Flush
from parlando.domain.config import SessionConfig
from parlando.domain.events import (
    Closed,
    Failure,
    FinalTranscript,
    Flushed,
    Partial,
    SessionEvent,
    SpeechStarted,
    Status,
)
from parlando.errors import InvalidRequestError, ParlandoError

CLAIM: Final = "openai_session"
"""The claim of an access token that holds a `RealtimeSession`."""
KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."
BETA_SUBPROTOCOL: Final = "openai-beta.realtime-v1"
FIRST_MESSAGE_S: Final = (
    0.25  # to wait for a `session.update` whose language and format the session opens with
)
WINDOW_S: Final = 10  # clients of this protocol never resume: they open a new session
BETA_FIELDS: Final = (
    "input_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
)


class OpenAIRealtime(LiveProtocol):
    """OpenAI's protocol. `_before`: the configuration before the client's newest event."""

    subprotocol = "realtime"

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._beta = (
            "realtime=v1" in handshake.headers.get("openai-beta", "")
            or BETA_SUBPROTOCOL in handshake.subprotocols
        )
        self._conversation = Conversation(beta=self._beta)
        self._session = self._before = RealtimeSession.default(handshake.query.get("model"))
        self._opened: OpenedSession | None = None
        self._event_id: str | None = None  # of the client's newest event
        self._events = 0  # sent
        self._received = 0  # bytes of audio
        self._failure = ("session_closed", "The session has ended before the item was transcribed")

    # --- opening ----------------------------------------------------------------------------------

    @property
    def key(self) -> str | None:
        """The key in a subprotocol, as browsers send it, else in the places that all protocols read."""
        for name in self.handshake.subprotocols:
            if name.startswith(KEY_SUBPROTOCOL):
                return name.removeprefix(KEY_SUBPROTOCOL)
        return self.handshake.token

    @property
    def first_message_s(self) -> float:
        """Most clients send a `session.update` at once; a client secret may contain the session."""
        return 0.0 if CLAIM in self.claims else FIRST_MESSAGE_S

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session as the client secret or the first `session.update` configures it."""
        if CLAIM in self.claims:
            self._session = RealtimeSession.of_claims(self.claims[CLAIM])
        config = SessionConfig(**self._session.config)
        return SessionRequest(window_s=WINDOW_S, config=config, format=self._session.audio_format)

    def greeting(self, session: OpenedSession) -> Sequence[str]:
        """`session.created`. A model that the client doesn't name is reported as the engine's."""
        self._opened = session
        self._conversation.name = session.id.removeprefix("s_")[:16]
        if not (self._session.transcription or {}).get("model") and session.engine:
            model = f"{session.engine}-{session.model}" if session.model else session.engine
            self._session = self._session.changed({"transcription": {"model": model}})
        return [self._session_event("created")]

    # --- from the client --------------------------------------------------------------------------

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """The commands of one client event. An invalid one is answered with an `error` event."""
        self._before, self._event_id = self._session, None
        self._conversation.session = self._session
        try:
            return self._commands(self._body(message))
        except InvalidRequestError as error:
            return [Reply([self._error(error)])]

    def _body(self, message: Message) -> dict[str, Any]:
        if isinstance(message, bytes):
            raise _invalid("Expected events as JSON text, but got a binary message")
        try:
            body = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            raise _invalid(f"Expected a JSON object, but got {message[:80]!r}") from error
        if not isinstance(body, dict) or not isinstance(body.get("type"), str):
            raise _invalid(f"Expected an object with a type, but got {message[:80]!r}", "type")
        if isinstance(event_id := body.get("event_id"), str):
            self._event_id = event_id[:512]
        return body

    def _commands(self, body: dict[str, Any]) -> Sequence[ClientCommand]:
        match body["type"]:
            case "input_audio_buffer.append":
                return [self._append(body.get("audio"))]
            case "input_audio_buffer.commit":
                return [Reply(self._dumped(self._conversation.commit())), Flush()]
            case "input_audio_buffer.clear":
                flushes = self._conversation.clear()
                return [Reply([self._dump(events.cleared())]), *([Flush()] if flushes else [])]
            case "session.update":
                return self._update(body.get("session"))
            case "transcription_session.update" if self._beta:
                return self._update(body.get("session"))
        expected = "session.update, input_audio_buffer.append, input_audio_buffer.commit or …clear"
        raise _invalid(
            f"Expected {expected} in a transcription session, but got {body['type'][:80]!r}", "type"
        )

    def _append(self, audio: Any) -> Audio:
        if not isinstance(audio, str):
            raise _invalid(f"Expected a base64 string, but got {str(audio)[:40]!r}", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except ValueError as error:  # binascii.Error, or not ASCII
            raise _invalid(f"Expected base64, but got {audio[:40]!r} ({error})", "audio") from error
        self._received += len(data)
        bytes_per_second = self._session.audio_format.bytes_per_second or 1
        self._conversation.received_ms = self._received * 1000 // bytes_per_second
        return Audio(data)

    def _update(self, session: Any) -> Sequence[ClientCommand]:
        if self._beta:
            changes = beta_changes(session)
        else:
            if isinstance(session, dict) and (old := [name for name in BETA_FIELDS if name in session]):
                raise ParamError(
                    f"Expected the fields of a GA session (audio.input), but got {old[0]}, which needs the "
                    "header OpenAI-Beta: realtime=v1",
                    f"session.{old[0]}",
                    code="unknown_parameter",
                )
            changes = ga_changes(session)
        new = self._session.changed(changes)
        reformatted = new.audio_format != self._session.audio_format
        if reformatted and self._received:
            raise ParamError(
                "The audio format can only be set before the first audio",
                "session.input_audio_format" if self._beta else "session.audio.input.format",
                code="invalid_value",
            )
        config = {name: value for name, value in new.config.items() if value != self._session.config[name]}
        self._session = new
        reply = Reply([self._session_event("updated")])
        if self._opened is None or reformatted:
            return [Start({}, new.audio_format, config), reply]
        return [Configure(changes=config), reply]

    # --- to the client ----------------------------------------------------------------------------

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """The events of the item that a segment belongs to, and errors."""
        self._conversation.session = self._session
        match event:
            case SpeechStarted() | Partial() | FinalTranscript():
                return self._dumped(self._conversation.recognized(event))
            case Flushed():
                return self._dumped(self._conversation.flushed())
            case Status(status="lost", ms=ms, reason=reason):
                lost = f"{ms} ms of audio are lost: {reason}"
                return [self._dump(events.error("server_error", "audio_lost", lost))]
            case Failure(code=code, message=message):
                self._failure = (code, message)
                return [self._dump(events.failure(code, message))]
            case Closed():
                return self._dumped(self._conversation.unfinished(*self._failure))
        return []

    def notice(self, notice: Notice) -> Sequence[str]:
        """An `error` for a change that can't be made now. The configuration is then as before."""
        if not isinstance(notice, MessageError):
            return ()
        if isinstance(notice.error, InvalidRequestError):
            self._session = self._before
        return [self._error(notice.error)]

    def refusal(self, error: ParlandoError) -> Refusal:
        """An `error`, then 3000 for a wrong key, as OpenAI does, else the code of `ERROR_MAPPINGS`."""
        body = events.error_of(error)
        reason = f"{body['error']['type']}.{body['error']['code']}"
        wrong_key = body["error"]["code"] == events.INVALID_KEY
        code = events.INVALID_KEY_CLOSE if wrong_key else mapping_of(error).close
        return Refusal([self._dump(body)], code, reason)

    def _session_event(self, what: str) -> str:
        name = self._opened.id if self._opened else ""
        if self._beta:
            return self._dump(events.session(f"transcription_session.{what}", self._session.beta(name)))
        return self._dump(events.session(f"session.{what}", self._session.ga(name)))

    def _error(self, error: ParlandoError) -> str:
        return self._dump(events.error_of(error, cause=self._event_id))

    def _dumped(self, bodies: Sequence[events.Event]) -> list[str]:
        return [self._dump(body) for body in bodies]

    def _dump(self, body: events.Event) -> str:
        self._events += 1
        return orjson.dumps({"event_id": f"event_{self._events}", **body}).decode()


def _invalid(message: str, param: str | None = None) -> ParamError:
    return ParamError(message, param, code="invalid_event")
