"""Deepgram's protocol for turns (Flux), `WS /v2/listen` (docs/dialects/deepgram.md). Pure.

A turn begins with the first words after the last one, and ends with the final of a segment that ends with a
pause; a segment that was only cut continues in the same turn. `EagerEndOfTurn` is sent for the hypothesis
that is made when the speaker pauses: it is the final's text, unless the speaker goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from api_gateway.doors.base import (
    Ack,
    Audio,
    ClientCommand,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    OpenedSession,
    Ping,
    Pong,
    Refusal,
    SessionRequest,
)
from api_gateway.doors.deepgram_flux_options import (
    FluxOptions,
    Thresholds,
    change_of,
    flux_options,
)
from api_gateway.doors.deepgram_options import DEFAULT_SILENCE_S, header_of
from api_gateway.doors.deepgram_wire import (
    POLICY,
    WARNINGS_HEADER,
    WINDOW_S,
    DeepgramConnection,
    dump,
    failure_code,
)
from api_gateway.handshake import Handshake
from api_gateway.presenters.deepgram import Style, err_code, timed_words, word_fields
from parlando.domain.annotations import Annotation
from parlando.domain.audio import seconds
from parlando.domain.commands import Configure, End, Flush
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
from parlando.domain.transcript import FinalSegment, join
from parlando.errors import InvalidRequestError, ParlandoError

MAX_SEGMENTS: Final = 50
"""Segments after which a turn ends without a pause: with 8 to 28 s each, some ten minutes."""


@dataclass(slots=True)
class _Turn:
    """The open turn. `done`: its segments that are final. `text`: as last sent.

    `eager`: the text of the last `EagerEndOfTurn`, unless speech has continued.
    """

    done: list[FinalSegment] = field(default_factory=list)
    text: str = ""
    eager: str | None = None


class Flux(DeepgramConnection, LiveProtocol):
    """The protocol of one connection."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._parsed: FluxOptions | None = None
        self._thresholds = Thresholds()
        self._keyterms: list[str] = []
        self._hints: tuple[str, ...] = ()
        self._sequence = 0
        self._turns = 0  # that have ended
        self._turn: _Turn | None = None
        self._end = 0.0  # of the last final's range, in seconds
        self._forced = 0  # ForceEndTurn messages that aren't answered yet
        self._held: FinalTranscript | None = None
        self._answers: list[dict[str, Any]] = []
        self._speaking = False
        self._failed = False

    @property
    def _options(self) -> FluxOptions:
        if self._parsed is None:
            self._parsed = flux_options(self.handshake)
            self._thresholds, self._hints = self._parsed.thresholds, self._parsed.hints
            self._keyterms = self.handshake.many("keyterm")
        return self._parsed

    # --- opening ------------------------------------------------------------------------------

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session with the query's options; its id is the request id."""
        return SessionRequest(
            session_id=self._request_id,
            must_be_new=True,
            window_s=WINDOW_S,
            config=self._options.config,
            format=self._options.format,
        )

    def answer_headers(self, session: OpenedSession) -> Sequence[tuple[str, str]]:
        """The request id, and the parameters that aren't honoured."""
        headers = [("dg-request-id", self._request_id)]
        if warnings := header_of(self._options.not_honoured):
            headers.append((WARNINGS_HEADER, warnings))
        return headers

    def greeting(self, session: OpenedSession) -> Sequence[str]:
        """`Connected`, and a `Warning` for each parameter that isn't honoured."""
        messages = [self._message("Connected")]
        for name, message in self._options.not_honoured:
            messages.append(self._warning("UNSUPPORTED_PARAMETER", f"{name}: {message}"))
        return messages

    def _message(self, kind: str, **fields: Any) -> str:
        message = {"type": kind, "request_id": self._request_id, "sequence_id": self._sequence, **fields}
        self._sequence += 1
        return dump(message)

    def _warning(self, code: str, description: str) -> str:
        return self._message("Warning", code=code, description=description)

    # --- from the client ----------------------------------------------------------------------

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio, `CloseStream`, `ForceEndTurn`, `Configure`, `KeepAlive`."""
        if isinstance(message, bytes):
            return [Audio(message)] if message else []
        body = orjson.loads(message)
        match body:
            case {"type": "CloseStream"}:
                return [End()]
            case {"type": "KeepAlive"}:
                return []
            case {"type": "ForceEndTurn"}:
                self._forced += 1
                return [Flush()]
            case {"type": "Configure"}:
                return self._configure(body)
        raise InvalidRequestError(
            f"Expected type CloseStream, ForceEndTurn, KeepAlive or Configure, but got {message[:80]!r}"
        )

    def _configure(self, body: dict[str, Any]) -> Sequence[ClientCommand]:
        """Apply a `Configure`; its answer is sent when the commands before it have been processed."""
        try:
            change = change_of(body, self._thresholds, multilingual=self._options.multilingual)
        except InvalidRequestError as error:
            self._answers.append(
                {"type": "ConfigureFailure", "code": "INVALID_CONFIGURE", "description": error.message}
            )
            return [Ping()]
        self._thresholds = change.thresholds
        self._keyterms = self._keyterms if change.keyterms is None else change.keyterms
        self._hints = self._hints if change.hints is None else change.hints
        answer: dict[str, Any] = {
            "type": "ConfigureSuccess",
            "thresholds": self._thresholds.fields(),
            "keyterms": self._keyterms,
        }
        if self._hints:
            answer["language_hints"] = list(self._hints)
        self._answers.append(answer)
        return [Configure(changes=change.config), Ping()] if change.config else [Ping()]

    # --- to the client ------------------------------------------------------------------------

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """`TurnInfo` messages, and an `Error` if the session failed."""
        match event:
            case SpeechStarted(start=start):
                found = [*self._released(), *self._silent(start)]
                self._speaking = True
                return found
            case Partial():
                return [*self._released(), *self._partial(event)]
            case FinalTranscript():
                self._speaking = False
                released = self._released()
                if self._forced:
                    self._held = event
                    return released
                return [*released, *self._final(event, trigger=self._trigger)]
            case Flushed():
                forced, self._forced = self._forced, max(0, self._forced - 1)
                trigger = "manual" if forced else self._trigger
                held, self._held = self._held, None
                return self._ended(trigger) if held is None else self._final(held, trigger=trigger)
            case Status(status="lost", ms=ms, reason=reason):
                return [self._warning("AUDIO_LOST", f"{ms} ms of audio were lost: {reason}")]
            case Failure(code=code, message=message):
                self._failed = True
                return [self._message("Error", code=failure_code(code), description=message)]
            case Closed():
                return [*self._released(), *self._ended(self._trigger)]
        return []

    @property
    def _trigger(self) -> str:
        return "timeout" if (self._thresholds.eot or 0.0) >= 1.0 else "model"

    def _released(self) -> list[str]:
        """The end of the turn whose final was held until it was known whether it answers a `ForceEndTurn`."""
        held, self._held = self._held, None
        return [] if held is None else self._final(held, trigger=self._trigger)

    def _silent(self, until: float) -> list[str]:
        """The end of a turn whose last segment was cut, if only silence follows up to `until`, in seconds."""
        if self._speaking or self._turn is None or not self._turn.done:
            return []
        silence_s = DEFAULT_SILENCE_S if self._thresholds.is_default else self._thresholds.silence_ms / 1000
        return self._ended(self._trigger) if until - self._turn.done[-1].end >= silence_s else []

    def _ended(self, trigger: str) -> list[str]:
        """The end of a turn that has only segments that are final."""
        if self._turn is None or not self._turn.done:
            return []
        *self._turn.done, last = self._turn.done
        found = self._turn_events("EndOfTurn", last, last.end, confidence=1.0, trigger=trigger)
        self._turn = None
        self._turns += 1
        self._end = max(self._end, last.end)
        return found

    def _partial(self, partial: Partial) -> list[str]:
        segment, eager = partial.so_far(), self._thresholds.eager
        if partial.paused and eager is not None:
            return self._turn_events("EagerEndOfTurn", segment, partial.end, confidence=eager)
        return self._turn_events("Update", segment, partial.end)

    def _final(self, final: FinalTranscript, *, trigger: str) -> list[str]:
        """`EndOfTurn`, or `Update` if the speaker goes on; nothing for noise between turns."""
        segment = final.settled()
        end = final.end if final.covers is None else seconds(final.covers)
        turn = self._turn
        found: list[str] = []
        if final.text or turn is not None:
            goes_on = final.continues and (turn is None or len(turn.done) < MAX_SEGMENTS)
            if goes_on and trigger != "manual":
                found = self._turn_events("Update", segment, end)
                assert self._turn is not None
                self._turn.done.append(segment)
                return found
            found = self._turn_events("EndOfTurn", segment, end, confidence=1.0, trigger=trigger)
            self._turn = None
            self._turns += 1
        self._end = max(self._end, end)
        return found

    def _turn_events(
        self, event: str, segment: FinalSegment, end: float, *, confidence: float = 0.0, **more: Any
    ) -> list[str]:
        """The messages by which the open turn, with `segment` as its newest one, becomes what `event` says.

        `StartOfTurn` comes first, and `TurnResumed` before anything that differs from an `EagerEndOfTurn`. An
        `Update` that says nothing new is omitted.
        """
        found = []
        if self._turn is None:
            self._turn = _Turn()
            found.append(self._turn_info("StartOfTurn", [segment], end, 0.0))
            self._turn.text = segment.text
        turn = self._turn
        segments = [*turn.done, segment]
        text = _text(segments)
        if turn.eager is not None and turn.eager != text:
            turn.eager = None
            found.append(self._turn_info("TurnResumed", segments, end, 0.0))
            turn.text = text
        repeats = event == "EagerEndOfTurn" and turn.eager is not None
        if not repeats and (event != "Update" or text != turn.text):
            found.append(self._turn_info(event, segments, end, confidence, **more))
        if event == "EagerEndOfTurn":
            turn.eager = text
        turn.text = text
        return found

    def _turn_info(
        self, event: str, segments: Sequence[FinalSegment], end: float, confidence: float, **more: Any
    ) -> str:
        """A `TurnInfo` about the audio from the end of the last turn to `end`, in seconds."""
        style = Style()
        words = [
            {**word_fields(word, segment, style), "word": word.word}
            for segment in segments
            if segment.text
            for word in timed_words(segment)
        ]
        for word in words:
            del word["punctuated_word"]
        if self._options.multilingual:
            languages = dict.fromkeys(segment.language for segment in segments if segment.language)
            more["languages"] = list(languages)
        if self._hints:
            more["languages_hinted"] = list(self._hints)
        return self._message(
            "TurnInfo",
            event=event,
            turn_index=self._turns,
            audio_window_start=self._end,
            audio_window_end=max(self._end, end),
            transcript=_text(segments),
            words=words,
            end_of_turn_confidence=confidence,
            **more,
        )

    # --- notices and errors -------------------------------------------------------------------

    def notice(self, notice: Notice) -> Sequence[str]:
        """Answers to `Configure`, and a `Warning` for a message that can't be understood."""
        match notice:
            case Ack(settled_ms=settled_ms):
                return self._silent(settled_ms / 1000)
            case Pong() if self._answers:
                answer = self._answers.pop(0)
                kind = answer.pop("type")
                return [self._message(kind, **answer)]
            case MessageError(error):
                return [self._warning(err_code(error).upper().replace(" ", "_"), error.message)]
        return []

    def refusal(self, error: ParlandoError) -> Refusal:
        """An `Error`, which is always fatal, then the close code."""
        code = err_code(error).upper().replace(" ", "_")
        closing = 1008 if error.code in POLICY else 1011
        return Refusal([self._message("Error", code=code, description=error.message)], closing, code)

    def close_code(self, closed: Closed) -> int:
        """1008 for audio that can't be decoded, 1011 after another failure."""
        if closed.reason == "invalid_audio":
            return 1008
        return 1011 if self._failed else 1000


def _text(segments: Sequence[FinalSegment]) -> str:
    spoken = [segment for segment in segments if segment.text]
    language = next((segment.language for segment in spoken if segment.language), None)
    return join((segment.text for segment in spoken), language)
