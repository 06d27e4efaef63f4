"""Deepgram's live protocol, `WS /v1/listen` (docs/dialects/deepgram.md). Pure.

Results of one channel cover its audio from 0 on without gaps: a final begins where the final before it ends,
and so does an interim result. `UtteranceEnd` is sent when it is certain that no speech follows within the
time, that is when the audio up to there is settled.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
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
    Refusal,
    Reply,
    SessionRequest,
)
from api_gateway.doors.deepgram_options import (
    DEFAULT_SILENCE_S,
    fields_of,
    header_of,
    hotwords_of,
    listen_options,
    strings,
)
from api_gateway.doors.deepgram_wire import (
    IDLE_S,
    WARNINGS_HEADER,
    WINDOW_S,
    DeepgramConnection,
    Stream,
    dump,
    failure_message,
    refusal_of,
    schema_error,
)
from api_gateway.handshake import Handshake
from api_gateway.presenters import deepgram
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
from parlando.domain.formats import AudioFormat
from parlando.domain.transcript import FinalSegment
from parlando.errors import InvalidRequestError, ParlandoError

FEATURES: Final = ("punctuate", "smart_format")
"""Features of a `Configure` message that are honoured."""
MAX_LOSSES: Final = 20  # warnings about lost audio in the metadata


class Listen(DeepgramConnection, LiveProtocol):
    """The protocol of one channel, `index`. `stream` is shared by the channels of a connection."""

    idle_s = IDLE_S

    def __init__(self, handshake: Handshake, *, index: int = 0, stream: Stream | None = None) -> None:
        super().__init__(handshake)
        if stream is not None:
            self._request_id = stream.request_id
        self._index = index
        self._alone = stream is None
        self._shared = stream
        self._model = deepgram.model_info(None, None)
        self._style = deepgram.Style()
        self._end = 0.0  # of the last final's range, in seconds
        self._last_word_end: float | None = None  # of the last final with text, until UtteranceEnd
        self._cut_at: float | None = None  # the end of a final after which a pause wasn't seen yet
        self._speaking = False
        self._finalizing = 0  # Finalize messages that aren't answered yet
        self._held: dict[str, Any] | None = None
        self._failure: Failure | None = None

    @property
    def _stream(self) -> Stream:
        if self._shared is None:
            self._shared = Stream(listen_options(self.handshake), self._request_id, 1)
        return self._shared

    # --- opening ------------------------------------------------------------------------------

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session with the query's options; its id is the request id, or `<request id>.<index>`."""
        options = self._stream.options
        self._style = options.style
        several = options.channels > 1
        return SessionRequest(
            session_id=f"{self._request_id}.{self._index}" if several else self._request_id,
            must_be_new=True,
            window_s=WINDOW_S,
            config=options.config,
            format=_channel_format(options.format, self._index) if several else options.format,
        )

    def answer_headers(self, session: OpenedSession) -> Sequence[tuple[str, str]]:
        """The request id, and the parameters that aren't honoured."""
        if self._index:
            return ()
        headers = [("dg-request-id", self._request_id)]
        if warnings := header_of(self._stream.options.not_honoured):
            headers.append((WARNINGS_HEADER, warnings))
        return headers

    def greeting(self, session: OpenedSession) -> Sequence[str]:
        """No message; the session's model is noted for the results."""
        self._model = deepgram.model_info(session.engine, session.model)
        opened = datetime.fromtimestamp(session.epoch / 1000, UTC)
        self._stream.created = opened.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return ()

    # --- from the client ----------------------------------------------------------------------

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio, `Finalize`, `KeepAlive`, `CloseStream`, `Configure`."""
        if isinstance(message, bytes):
            if self._alone:  # else the audio of all channels is counted where it is split
                self._stream.digest.update(message)
            return [Audio(message)] if message else []
        body = orjson.loads(message)
        match body:
            case {"type": "KeepAlive"}:
                return []
            case {"type": "Finalize"}:
                self._finalizing += 1
                return [Flush()]
            case {"type": "CloseStream"}:
                return [End()]
            case {"type": "Configure"}:
                return self._configure(body)
        raise InvalidRequestError(
            f"Expected type Finalize, KeepAlive, CloseStream or Configure, but got {message[:80]!r}"
        )

    def _configure(self, body: dict[str, Any]) -> Sequence[ClientCommand]:
        """Apply a `Configure`, and answer it."""
        terms = body.get("keyterms")
        try:
            features = fields_of("features", body.get("features"))
            if unknown := [name for name in features if name not in FEATURES]:
                raise InvalidRequestError(
                    f"features: expected {', '.join(FEATURES)}, but got {str(unknown[0])[:40]}"
                )
            hotwords = None if terms is None else hotwords_of(strings("keyterms", terms))
        except InvalidRequestError as error:
            limit = "characters in all" in error.message
            code = "CONFIGURE_KEYTERM_LIMIT_EXCEEDED" if limit else "CONFIGURE_INTERNAL_ERROR"
            return self._answer("ConfigureFailure", code=code, description=error.message)
        if features:
            punctuated = any(features.values())
            self._style = deepgram.Style(punctuated, self._style.speakers, self._style.languages)
        if hotwords is None:
            return self._answer("ConfigureSuccess")
        change = Configure(changes={"hotwords": hotwords})
        return [change, *self._answer("ConfigureSuccess", keyterms=terms)]

    def _answer(self, kind: str, **fields: Any) -> Sequence[ClientCommand]:
        """The answer to a message; the first of several channels answers for all."""
        message = {"type": kind, "request_id": self._request_id, **fields}
        return [] if self._index else [Reply([dump(message)])]

    # --- to the client ------------------------------------------------------------------------

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """Results, `SpeechStarted`, `UtteranceEnd`, and `Metadata` at the end."""
        return [dump(message) for message in self._messages(event)]

    def _messages(self, event: SessionEvent | Annotation) -> list[dict[str, Any]]:
        match event:
            case SpeechStarted(start=start):
                return self._speech_started(start)
            case Partial():
                return [*self._released(), self._interim(event)]
            case FinalTranscript():
                return self._final(event)
            case Flushed(covers=covers):
                return self._flushed(covers)
            case Status(status="lost", ms=ms, reason=reason):
                self._note_loss(ms, reason)
                return []
            case Failure():
                self._failure = event
                return [failure_message(event)]
            case Closed(duration=duration):
                return self._closed(duration)
        return []

    def _speech_started(self, start: float) -> list[dict[str, Any]]:
        found = [*self._released(), *self._silent(start)]
        self._cut_at = None
        self._speaking = True
        if self._stream.options.vad_events:
            found.append({"type": "SpeechStarted", "channel": self._channel_index, "timestamp": start})
        return found

    @property
    def _channel_index(self) -> list[int]:
        return [self._index, self._stream.options.channels]

    def _interim(self, partial: Partial) -> dict[str, Any]:
        return self._results([partial.so_far()], partial.end, final=False)

    def _final(self, final: FinalTranscript) -> list[dict[str, Any]]:
        """A final result. While a Finalize waits for its answer it is held until the next event shows whether
        it is that answer.
        """
        segment = final.settled()
        end = final.end if final.covers is None else seconds(final.covers)
        result = self._results([segment], end, final=True, paused=not final.continues)
        self._end = max(self._end, end)
        self._speaking = False
        self._cut_at = final.end if final.continues else None
        if final.text:
            self._last_word_end = deepgram.timed_words(segment)[-1].end
        released = self._released()
        if self._finalizing:
            self._held = result
            return released
        return [*released, result]

    def _flushed(self, covers: int | None) -> list[dict[str, Any]]:
        end = self._end if covers is None else seconds(covers)
        result, self._held = self._held, None
        found: list[dict[str, Any]] = []
        if self._finalizing:
            self._finalizing -= 1
            result = result or self._results([], end, final=True, paused=True)
            found.append({**result, "speech_final": True, "from_finalize": True})
        elif result is not None:
            found.append(result)
        self._end = max(self._end, end)
        self._cut_at = None
        return [*found, *self._silent(end)]

    def _released(self) -> list[dict[str, Any]]:
        """The final result that was held, if there is one."""
        held, self._held = self._held, None
        return [] if held is None else [held]

    def _results(
        self, segments: list[FinalSegment], end: float, *, final: bool, paused: bool = False
    ) -> dict[str, Any]:
        """A `Results` message for the audio from the last final to `end`, in seconds.

        `paused`: whether the speaker has paused there.
        """
        return {
            "type": "Results",
            "channel_index": self._channel_index,
            "duration": round(max(0.0, end - self._end), 4),
            "start": self._end,
            "is_final": final,
            "speech_final": paused and self._stream.options.endpointing,
            "from_finalize": False,
            "channel": {"alternatives": [deepgram.alternative(segments, self._style)]},
            "metadata": {
                "request_id": self._request_id,
                "model_info": self._model,
                "model_uuid": self._model["name"],
            },
        }

    def _silent(self, until: float) -> list[dict[str, Any]]:
        """What follows from silence after the last final up to `until`, in seconds."""
        if self._speaking:
            return []
        return [*self._pause_after_cut(until), *self._utterance_end(until)]

    def _pause_after_cut(self, until: float) -> list[dict[str, Any]]:
        """An empty result that says that the speaker has paused, after a segment that was cut."""
        silence_ms = self._stream.options.config.vad_silence_ms
        silence_s = DEFAULT_SILENCE_S if silence_ms is None else silence_ms / 1000
        if self._cut_at is None or until - self._cut_at < silence_s or until <= self._end:
            return []
        self._cut_at = None
        result = self._results([], until, final=True, paused=True)
        self._end = until
        return [result]

    def _utterance_end(self, silent_until: float) -> list[dict[str, Any]]:
        """`UtteranceEnd`, if the last word is long enough ago."""
        limit, last = self._stream.options.utterance_end_s, self._last_word_end
        if limit is None or last is None or silent_until - last < limit:
            return []
        self._last_word_end = None
        return [{"type": "UtteranceEnd", "channel": self._channel_index, "last_word_end": last}]

    def _note_loss(self, ms: int, reason: str) -> None:
        if len(self._stream.lost) < MAX_LOSSES:
            self._stream.lost.append(("audio", f"{ms} ms were lost: {reason}"))

    def _closed(self, duration: float) -> list[dict[str, Any]]:
        found = self._released()
        if duration > self._end:
            found.append(self._results([], duration, final=True, paused=True))
            self._end = duration
        self._speaking, self._cut_at = False, None
        found += self._silent(duration)
        stream = self._stream
        stream.open -= 1
        stream.duration = max(stream.duration, duration)
        if not stream.open:
            found.append(stream.metadata())
        return found

    # --- notices and errors -------------------------------------------------------------------

    def notice(self, notice: Notice) -> Sequence[str]:
        """What follows from silence in the audio, and errors of messages."""
        match notice:
            case Ack(settled_ms=settled_ms):
                found = self._silent(settled_ms / 1000)
            case MessageError(error):
                if error.code == "too_many_controls" and self._finalizing:
                    self._finalizing -= 1
                found = [schema_error(error)]
            case _:
                found = []
        return [dump(message) for message in found]

    def refusal(self, error: ParlandoError) -> Refusal:
        """See `refusal_of`."""
        return refusal_of(error)

    def close_code(self, closed: Closed) -> int:
        """1008 for audio that can't be decoded, 1011 after another failure."""
        if closed.reason == "invalid_audio":
            return 1008
        return 1000 if self._failure is None else 1011

    def close_reason(self, closed: Closed) -> str:
        """Deepgram's code of the failure, if there was one."""
        if closed.reason == "invalid_audio":
            return "DATA-0000"
        return "" if self._failure is None else "NET-0000"


def _channel_format(form: AudioFormat, index: int) -> AudioFormat:
    """The format of one channel: raw audio is split before, of a container the session uses the channel."""
    if form.whole:
        return form.model_copy(update={"channel": index})
    return form.model_copy(update={"channels": 1})
