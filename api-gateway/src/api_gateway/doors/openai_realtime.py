"""Transcription by OpenAI's Realtime API, `WS /v1/realtime` (docs/dialects/openai-realtime.md). Pure.

The client gets one transcript for each *item*. With turn detection each segment is an item. Without it, and
for audio that the client commits itself, an item is everything up to the `Flushed` that answers the commit.
Deltas are made of stable text only: an item's deltas, joined, are its transcript.
"""

import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from api_gateway.handshake import Handshake
from api_gateway.presenters import openai_realtime as events
from api_gateway.presenters.error_mapping import mapping_of
from api_gateway.presenters.openai import ParamError, token_logprobs
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
from parlando.domain.transcript import join
from parlando.errors import InvalidRequestError, ParlandoError

CLAIM: Final = "openai_session"
"""The claim of an access token that holds a `RealtimeSession`."""
KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."
BETA_SUBPROTOCOL: Final = "openai-beta.realtime-v1"
FIRST_MESSAGE_S: Final = (
    0.25  # to wait for a `session.update` whose language and format the session opens with
)
WINDOW_S: Final = 10  # clients of this protocol never resume: they open a new session
MIN_COMMIT_MS: Final = 100
MAX_FLUSHES: Final = 200  # unanswered commits and clears
BETA_FIELDS: Final = (
    "input_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
)


@dataclass(slots=True)
class _Item:
    """An item that isn't completed. `announced`: whether `speech_started` was sent.

    `text`: its joined deltas, of which `text[begin:]` belong to `segment`, and have its text `sent`.
    """

    id: str
    start_ms: int
    text: str = ""
    segment: int = -1
    begin: int = 0
    sent: str = ""
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    duration_ms: int = 0
    announced: bool = False

    def add(self, segment: int, text: str, language: str | None) -> str:
        """Continue with the text of a segment, which only grows. Returns the new part of the item's text."""
        if segment != self.segment:
            self.segment, self.begin, self.sent = segment, len(self.text), ""
        if not text.startswith(self.sent) or text == self.sent:
            return ""
        space = join(("", ""), language) if self.text and not self.sent else ""
        delta = space + text.removeprefix(self.sent)
        self.sent = text
        self.text += delta
        return delta


class OpenAIRealtime(LiveProtocol):
    """OpenAI's protocol. `_flushes`: the item of each unanswered flush, None if its audio is discarded."""

    subprotocol = "realtime"

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._beta = (
            "realtime=v1" in handshake.headers.get("openai-beta", "")
            or BETA_SUBPROTOCOL in handshake.subprotocols
        )
        self._session = self._before = RealtimeSession.default(handshake.query.get("model"))
        self._opened: OpenedSession | None = None
        self._event_id: str | None = None  # of the client's newest message
        self._events = 0
        self._items = 0
        self._item: _Item | None = None  # collects text until it is committed
        self._flushes: deque[_Item | None] = deque()
        self._previous: str | None = None  # the item committed last
        self._received = 0  # bytes of audio
        self._buffer_ms = 0  # where the uncommitted audio begins
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
        if not (self._session.transcription or {}).get("model") and session.engine:
            model = f"{session.engine}-{session.model}" if session.model else session.engine
            self._session = self._session.changed({"transcription": {"model": model}})
        return [self._session_event("created")]

    # --- from the client --------------------------------------------------------------------------

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """The commands of one client event. An invalid one is answered with an `error` event."""
        self._before, self._event_id = self._session, None
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
                return self._commit()
            case "input_audio_buffer.clear":
                return self._clear()
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

    def _commit(self) -> Sequence[ClientCommand]:
        buffered = self._received_ms - self._buffer_ms
        if buffered < MIN_COMMIT_MS:
            raise ParamError(
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {buffered:.2f}ms of audio.",
                None,
                code="input_audio_buffer_commit_empty",
            )
        self._check_flushes()
        item = self._item or self._new_item()
        self._item = None
        item.duration_ms = buffered
        self._buffer_ms = self._received_ms
        self._flushes.append(item)
        return [Reply(self._committed(item)), Flush()]

    def _clear(self) -> Sequence[ClientCommand]:
        cleared = Reply([self._dump(events.cleared())])
        if self._received_ms <= self._buffer_ms and self._item is None:
            return [cleared]
        self._check_flushes()
        self._item = None
        self._buffer_ms = self._received_ms
        self._flushes.append(None)
        return [cleared, Flush()]

    def _check_flushes(self) -> None:
        if len(self._flushes) >= MAX_FLUSHES:
            raise ParamError(
                f"Expected at most {MAX_FLUSHES} commits that are not transcribed yet; wait for one",
                None,
                code="rate_limit_exceeded",
            )

    @property
    def _received_ms(self) -> int:
        return self._received * 1000 // (self._session.audio_format.bytes_per_second or 1)

    # --- to the client ----------------------------------------------------------------------------

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """The events of the item that a segment belongs to."""
        match event:
            case SpeechStarted():
                return self._speech(event.start)
            case Partial() if event.stable:
                return [*self._speech(event.start), *self._delta(event, event.stable)]
            case FinalTranscript():
                return self._final(event)
            case Flushed() if self._flushes:
                flushed = self._flushes.popleft()
                return [self._completed(flushed)] if flushed else []
            case Status(status="lost", ms=ms, reason=reason):
                lost = f"{ms} ms of audio are lost: {reason}"
                return [self._dump(events.error("server_error", "audio_lost", lost))]
            case Failure(code=code, message=message):
                self._failure = (code, message)
                return [self._dump(events.error("server_error", code, message))]
            case Closed():
                return self._unfinished()
        return []

    def _current(self) -> _Item | None:
        """The item that the next text belongs to; None if the client has cleared its audio."""
        if self._flushes:
            return self._flushes[0]
        if self._item is None:
            self._item = self._new_item()
        return self._item

    def _new_item(self) -> _Item:
        self._items += 1
        name = self._opened.id.removeprefix("s_")[:16] if self._opened else ""
        return _Item(f"item_{name}_{self._items}", start_ms=self._buffer_ms)

    def _speech(self, start: float) -> list[str]:
        """`speech_started`, once for each item that turn detection begins. `start`: in seconds."""
        if self._flushes or self._session.manual:
            return []
        item = self._current()
        if item is None or item.announced:
            return []
        item.announced = True
        item.start_ms = max(self._buffer_ms, round(start * 1000) - self._session.prefix_ms)
        return [self._dump(events.speech_started(item.id, item.start_ms))]

    def _delta(self, event: Partial | FinalTranscript, text: str) -> list[str]:
        item = self._current()
        new = item.add(event.segment, text, event.language) if item else ""
        return [self._dump(events.delta(item.id, new))] if item and new else []

    def _final(self, final: FinalTranscript) -> list[str]:
        announced = self._item is not None and self._item.announced
        if not final.text and not announced and not self._flushes:
            return []  # of noise that nobody was told about
        messages = self._speech(final.start) if final.text else []
        messages += self._delta(final, final.text)
        item = self._current()
        if item is None:
            return []
        if self._session.logprobs and final.words:
            item.logprobs += token_logprobs(item.text[item.begin :], final.words)
        if final.text and final.language and final.language not in item.languages:
            item.languages.append(final.language)
        if final.text and final.speaker:
            messages.append(self._dump(events.segment(item.id, final)))
        if self._flushes or self._session.manual:
            return messages
        return [*messages, *self._turn(item, final)]

    def _turn(self, item: _Item, final: FinalTranscript) -> list[str]:
        """Commit and complete the item whose end turn detection has found."""
        end_ms = min(round(final.end * 1000) + (self._session.silence_ms or 0), self._received_ms)
        end_ms = max(end_ms, item.start_ms)
        item.duration_ms = end_ms - item.start_ms
        self._buffer_ms = end_ms
        self._item = None
        stopped = self._dump(events.speech_stopped(item.id, end_ms))
        return [stopped, *self._committed(item), self._completed(item)]

    def _committed(self, item: _Item) -> list[str]:
        bodies = events.committed(item.id, self._previous, beta=self._beta)
        self._previous = item.id
        return [self._dump(body) for body in bodies]

    def _completed(self, item: _Item) -> str:
        logprobs = item.logprobs if self._session.logprobs else None
        body = events.completed(
            item.id,
            item.text,
            duration_ms=item.duration_ms,
            languages=item.languages,
            logprobs=logprobs,
        )
        return self._dump(body)

    def _unfinished(self) -> list[str]:
        """Tell which items get no transcript, as the session has closed."""
        known = [item for item in self._flushes if item]
        if self._item is not None and (self._item.announced or self._item.text):
            known.append(self._item)
        return [self._dump(events.failed(item.id, *self._failure)) for item in known]

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

    def _dump(self, body: events.Event) -> str:
        self._events += 1
        return orjson.dumps({"event_id": f"event_{self._events}", **body}).decode()


def _invalid(message: str, param: str | None = None) -> ParamError:
    return ParamError(message, param, code="invalid_event")
