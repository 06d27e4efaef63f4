"""What is still to be sent to one client, in order and bounded. Pure.

Events that are kept, and annotations, are numbered and never dropped: if too many wait, the rest is read from
Redis later. Of the other events only the newest matter: a client that reads slowly skips partials, never
finals.
"""

from collections import deque
from typing import Final

from parlando.domain.annotations import Annotation
from parlando.domain.events import FinalTranscript
from parlando.store.envelope import Envelope

MAX_WAITING: Final = 64


class NumberedMessages:
    """Numbered messages, each once and in order. `sent` is the last number given out."""

    def __init__(self, sent: int) -> None:
        self.sent = sent
        self.behind = False
        """Whether Redis holds messages that are not here."""
        self._seen = sent  # the last number known to exist
        self._waiting: deque[tuple[int, Envelope]] = deque()

    @property
    def newest(self) -> int:
        """The last number that was sent or waits here; Redis is read from behind it."""
        return self._waiting[-1][0] if self._waiting else self.sent

    def put(self, number: int, message: Envelope) -> bool:
        """Take a message from the channel; whether it can be sent now."""
        self._seen = max(self._seen, number)
        if number <= self.newest or self.behind:
            return False
        if number != self.newest + 1 or len(self._waiting) >= MAX_WAITING:
            self.behind = True
            return False
        self._waiting.append((number, message))
        return True

    def refill(self, messages: list[tuple[int, Envelope]], *, complete: bool) -> list[Envelope]:
        """Take messages read from behind `newest`; `complete` if there are no more. Those that are new."""
        new = []
        for number, message in messages:
            if number > self.newest:
                self._waiting.append((number, message))
                new.append(message)
        if complete and not messages:
            self._seen = self.newest  # Redis has no more, whatever was heard of
        self.behind = not complete or self._seen > self.newest
        return new

    def take(self) -> list[Envelope]:
        """Everything that may be sent now."""
        messages = [message for _, message in self._waiting]
        if self._waiting:
            self.sent = self._waiting[-1][0]
            self._waiting.clear()
        return messages


class Outbox:
    """Messages from a session's channel and history, put in order.

    `sent`, `annotated`: the last event and the last annotation that the client has; None if it wants none.
    """

    def __init__(self, sent: int, annotated: int | None = None) -> None:
        self._events = NumberedMessages(sent)
        self.annotations = None if annotated is None else NumberedMessages(annotated)
        self._passing: list[Envelope] = []

    @property
    def behind(self) -> bool:
        """Whether the history holds events that are not here."""
        return self._events.behind

    @property
    def newest(self) -> int:
        """The last kept event that was sent or waits here; the history is read from behind it."""
        return self._events.newest

    @property
    def sent(self) -> int:
        """The last kept event given out."""
        return self._events.sent

    def put(self, message: Envelope) -> None:
        """Take a message from the channel."""
        if isinstance(annotation := message.message, Annotation):
            if self.annotations is not None:
                self.annotations.put(annotation.number, message)
        elif message.seq is not None:
            if self._events.put(message.seq, message):
                self._drop_partials_of(message)
        else:
            if message.type == "partial":
                self._passing = [p for p in self._passing if p.type != "partial"]
            self._passing.append(message)

    def _drop_partials_of(self, message: Envelope) -> None:
        if isinstance(final := message.message, FinalTranscript):
            self._passing = [p for p in self._passing if _segment(p) > final.segment]

    def missed(self) -> None:
        """The channel was interrupted: what it carried is in Redis."""
        self._events.behind = True
        if self.annotations is not None:
            self.annotations.behind = True

    def refill(self, messages: list[Envelope], *, complete: bool) -> None:
        """Take events read from the history behind `newest`; `complete` if it has no more of them."""
        numbered = [(message.seq, message) for message in messages if message.seq is not None]
        for message in self._events.refill(numbered, complete=complete):
            self._drop_partials_of(message)

    def take(self) -> list[Envelope]:
        """Everything that may be sent now."""
        messages = self._events.take()
        if self.annotations is not None:
            messages += self.annotations.take()
        if not self.behind:
            messages += self._passing
            self._passing = []
        return messages


def _segment(message: Envelope) -> int:
    return getattr(message.message, "segment", -1)
