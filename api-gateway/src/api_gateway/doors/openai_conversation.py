"""The items of an OpenAI Realtime session, and the events about them. Pure.

The client gets one transcript for each item. With turn detection each segment is an item, also one that a
commit ends. Without it, an item is everything between two commits, up to the second one's `Flushed`.
Deltas are made of stable text only: an item's deltas, joined, are its transcript.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from api_gateway.presenters import openai_realtime as events
from api_gateway.presenters.openai import ParamError, token_logprobs
from api_gateway.presenters.openai_realtime import Event
from api_gateway.presenters.openai_session import RealtimeSession
from parlando.domain.events import FinalTranscript, Partial, SessionEvent, SpeechStarted
from parlando.domain.transcript import join

MIN_COMMIT_MS: Final = 100
MAX_FLUSHES: Final = 200  # unanswered commits and clears


@dataclass(slots=True)
class Item:
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


@dataclass(slots=True)
class _Flush:
    """A commit or clear that isn't answered by `Flushed` yet, at `ms` of the audio.

    `turns`: whether segments before it are items of their own. `item`: what they belong to otherwise; None if
    they are discarded.
    """

    ms: int
    turns: bool
    item: Item | None = None
    discard: bool = False
    ended: int = 0  # turns that have ended since the commit


class Conversation:
    """The items of one connection. `received_ms`: of audio from the client; the door counts it."""

    def __init__(self, *, beta: bool) -> None:
        self.session = RealtimeSession.default()
        self.name = ""
        self.received_ms = 0
        self._beta = beta
        self._count = 0
        self._open: Item | None = None  # collects text until it is committed
        self._flushes: deque[_Flush] = deque()
        self._previous: str | None = None  # the item committed last
        self._buffer_ms = 0  # where the uncommitted audio begins, as far as it is known

    # --- from the client --------------------------------------------------------------------------

    def commit(self) -> list[Event]:
        """Commit the buffer: a flush is to follow. Raises `ParamError`."""
        buffered = self.received_ms - self._buffer_ms
        if buffered < MIN_COMMIT_MS:
            raise _too_small(buffered)
        self._check_flushes()
        if not self.session.manual:  # the segments before it may still become items: announced when they have
            self._flushes.append(_Flush(self.received_ms, turns=True))
            return []
        item = self._open or self._new_item()
        item.duration_ms = buffered
        self._open = None
        self._buffer_ms = self.received_ms
        self._flushes.append(_Flush(self.received_ms, turns=False, item=item))
        return self._committed(item)

    def clear(self) -> bool:
        """Discard the buffer. Returns whether a flush is to follow. Raises `ParamError`."""
        if self.received_ms <= self._buffer_ms and self._open is None:
            return False
        self._check_flushes()
        turns = not self.session.manual
        if not turns:
            self._open = None
            self._buffer_ms = self.received_ms
        self._flushes.append(_Flush(self.received_ms, turns=turns, discard=True))
        return True

    def _check_flushes(self) -> None:
        if len(self._flushes) >= MAX_FLUSHES:
            raise ParamError(
                f"Expected at most {MAX_FLUSHES} commits that are not transcribed yet; wait for one",
                None,
                code="rate_limit_exceeded",
            )

    # --- from the session -------------------------------------------------------------------------

    def recognized(self, event: SessionEvent) -> list[Event]:
        """What a segment's event means for its item."""
        if self._discarding(event):
            return []
        match event:
            case SpeechStarted():
                return self._speech(event.start)
            case Partial() if event.stable and not self.session.diarizes:  # a final may be divided
                return [*self._speech(event.start), *self._delta(event, event.stable)]
            case FinalTranscript():
                return self._final(event)
        return []

    def flushed(self) -> list[Event]:
        """All audio before the oldest commit or clear is settled."""
        if not self._flushes:
            return []
        flush = self._flushes.popleft()
        if flush.item is not None:
            return [self._completed(flush.item)]
        if flush.discard:
            self._open = None
            self._buffer_ms = max(self._buffer_ms, flush.ms)
            return []
        rest = flush.ms - self._buffer_ms
        if rest < MIN_COMMIT_MS:  # the segments before it were all
            return [] if flush.ended else [events.error_of(_too_small(rest))]
        item = self._open or self._new_item()
        item.duration_ms = rest
        self._open, self._buffer_ms = None, flush.ms
        return [*self._committed(item), self._completed(item)]

    def unfinished(self, code: str, message: str) -> list[Event]:
        """The session has closed: announce which items get no transcript."""
        known = [flush.item for flush in self._flushes if flush.item]
        if self._open is not None and (self._open.announced or self._open.text):
            known.append(self._open)
        return [events.failed(item.id, code, message) for item in known]

    def _discarding(self, event: SessionEvent) -> bool:
        """Whether an event is of audio that the client has cleared; not of a turn that had ended before."""
        flush = self._flushes[0] if self._flushes else None
        if flush is None or not flush.discard:
            return False
        ended = isinstance(event, FinalTranscript) and self._silent_at(event) <= flush.ms
        return not (flush.turns and ended)

    def _silent_at(self, final: FinalTranscript) -> int:
        """When turn detection ends a segment: after its speech and the silence that it waits for."""
        return round(final.end * 1000) + (self.session.silence_ms or 0)

    @property
    def _turns(self) -> bool:
        """Whether the segments that are recognized now are items of their own."""
        return self._flushes[0].turns if self._flushes else not self.session.manual

    def _current(self) -> Item:
        """The item that the text recognized now belongs to."""
        if self._flushes and (item := self._flushes[0].item):
            return item
        if self._open is None:
            self._open = self._new_item()
        return self._open

    def _new_item(self) -> Item:
        self._count += 1
        return Item(f"item_{self.name}_{self._count}", start_ms=self._buffer_ms)

    def _speech(self, start: float) -> list[Event]:
        """`speech_started`, once for each turn. `start`: in seconds."""
        if not self._turns:
            return []
        item = self._current()
        if item.announced:
            return []
        item.announced = True
        item.start_ms = max(self._buffer_ms, round(start * 1000) - self.session.prefix_ms)
        return [events.speech_started(item.id, item.start_ms)]

    def _delta(self, event: Partial | FinalTranscript, text: str) -> list[Event]:
        item = self._current()
        new = item.add(event.segment, text, event.language)
        return [events.delta(item.id, new)] if new else []

    def _final(self, final: FinalTranscript) -> list[Event]:
        if not final.text and self._turns and not (self._open and self._open.announced):
            return []  # noise that was not announced to the client
        sent = [*(self._speech(final.start) if final.text else ()), *self._delta(final, final.text)]
        item = self._current()
        if self.session.logprobs and final.words:
            item.logprobs += token_logprobs(item.text[item.begin :], final.words)
        if final.text and final.language and final.language not in item.languages:
            item.languages.append(final.language)
        if final.text and final.speaker:
            sent.append(events.segment(item.id, final))
        return [*sent, *self._end_turn(item, final)] if self._turns else sent

    def _end_turn(self, item: Item, final: FinalTranscript) -> list[Event]:
        """Commit and complete the item of a segment that turn detection, or a commit, has ended."""
        limit = self.received_ms
        if self._flushes:
            limit = self._flushes[0].ms
            self._flushes[0].ended += 1
        end_ms = max(item.start_ms, min(self._silent_at(final), limit))
        item.duration_ms = end_ms - item.start_ms
        self._open, self._buffer_ms = None, end_ms
        return [events.speech_stopped(item.id, end_ms), *self._committed(item), self._completed(item)]

    def _committed(self, item: Item) -> list[Event]:
        sent = events.committed(item.id, self._previous, beta=self._beta)
        self._previous = item.id
        return sent

    def _completed(self, item: Item) -> Event:
        return events.completed(
            item.id,
            item.text,
            duration_ms=item.duration_ms,
            languages=item.languages,
            logprobs=item.logprobs if self.session.logprobs else None,
        )


def _too_small(buffered_ms: int) -> ParamError:
    return ParamError(
        "Error committing input audio buffer: buffer too small. Expected at least "
        f"{MIN_COMMIT_MS}ms of audio, but buffer only has {max(0, buffered_ms):.2f}ms of audio.",
        None,
        code="input_audio_buffer_commit_empty",
    )
