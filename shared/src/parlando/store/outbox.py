"""The queue of messages for one client, in order and bounded. Pure.

Kept events and annotations are numbered and never dropped: if too many wait, the rest is read from Redis
later. Of the other events only the newest are queued, so a slow client misses partials but no finals.
"""

from collections import deque
from typing import Final

from parlando.domain.analysis import TaskUpdate
from parlando.domain.annotations import Annotation
from parlando.domain.events import FinalTranscript
from parlando.store.envelope import Envelope

MAX_WAITING: Final = 64
_REPLACED: Final = frozenset({"partial", "update"})
"""Types of events that are not kept, of which only the newest is sent."""


class NumberedMessages:
    """Numbered messages, each once and in order. `sent`: the number of the last message taken."""

    def __init__(self, sent: int) -> None:
        self.sent = sent
        self.behind = False
        """Whether Redis has messages that must be read from there."""
        self._highest = sent  # the highest number received, whether the message was queued or not
        self._unread = False  # a message was left to the next read, which may have begun before it
        self._waiting: deque[tuple[int, Envelope]] = deque()

    @property
    def newest(self) -> int:
        """The last number that was taken or is queued; Redis is read after it."""
        return self._waiting[-1][0] if self._waiting else self.sent

    def put(self, number: int, message: Envelope) -> bool:
        """Queue a message of the channel. Returns False if it is a duplicate, or must be read from Redis."""
        self._highest = max(self._highest, number)
        if number <= self.newest:
            return False
        if self.behind or number != self.newest + 1 or len(self._waiting) >= MAX_WAITING:
            self.behind = self._unread = True
            return False
        self._waiting.append((number, message))
        return True

    def refill(self, messages: list[tuple[int, Envelope]], *, complete: bool) -> list[Envelope]:
        """Queue messages that were read after `newest`. Returns those that are new.

        `complete`: whether Redis had no more.
        """
        new = []
        for number, message in messages:
            if number > self.newest:
                self._waiting.append((number, message))
                new.append(message)
        if complete and not messages and not self._unread:
            self._highest = self.newest  # Redis has lost the messages in between
        self._unread = False
        self.behind = not complete or self._highest > self.newest
        return new

    def take(self) -> list[Envelope]:
        """Remove and return all messages that can be sent now."""
        messages = [message for _, message in self._waiting]
        if self._waiting:
            self.sent = self._waiting[-1][0]
            self._waiting.clear()
        return messages


class Outbox:
    """Messages of a session's channel and history, in order.

    `sent`, `annotated`: the last event and annotation that the client has received; None for no annotations.
    """

    def __init__(self, sent: int, annotated: int | None = None) -> None:
        self._events = NumberedMessages(sent)
        self.annotations = None if annotated is None else NumberedMessages(annotated)
        self._unnumbered: list[Envelope] = []

    @property
    def behind(self) -> bool:
        """Whether the history has events that must be read from there."""
        return self._events.behind

    @property
    def newest(self) -> int:
        """The last kept event that was taken or is queued; the history is read after it."""
        return self._events.newest

    @property
    def sent(self) -> int:
        """The last kept event that was taken."""
        return self._events.sent

    def put(self, message: Envelope) -> None:
        """Queue a message of the channel."""
        if isinstance(annotation := message.message, Annotation):
            if self.annotations is not None:
                self.annotations.put(annotation.number, message)
        elif message.seq is not None:
            if self._events.put(message.seq, message):
                self._drop_partials_of(message)
        else:
            if self._is_past(message):
                return
            if message.type in _REPLACED:
                self._unnumbered = [p for p in self._unnumbered if p.type != message.type]
            self._unnumbered.append(message)

    def _drop_partials_of(self, message: Envelope) -> None:
        """Drop the partials that `message` replaces."""
        if isinstance(kept := message.message, FinalTranscript):
            self._unnumbered = [p for p in self._unnumbered if _segment(p) > kept.segment]
        elif isinstance(kept, TaskUpdate):
            self._unnumbered = [p for p in self._unnumbered if not self._is_past(p)]

    def _is_past(self, message: Envelope) -> bool:
        """Whether a partial result of a task was published before a kept update that is known here."""
        update = message.message
        return isinstance(update, TaskUpdate) and update.after < self._events.newest

    def missed(self) -> None:
        """The subscription was interrupted: messages may be missing, so read them from Redis."""
        self._events.behind = True
        if self.annotations is not None:
            self.annotations.behind = True

    def refill(self, messages: list[Envelope], *, complete: bool) -> None:
        """Queue events read from the history after `newest`. `complete`: whether it had no more."""
        numbered = [(message.seq, message) for message in messages if message.seq is not None]
        for message in self._events.refill(numbered, complete=complete):
            self._drop_partials_of(message)

    def take(self) -> list[Envelope]:
        """Remove and return all messages that can be sent now."""
        messages = self._events.take()
        if self.annotations is not None:
            messages += self.annotations.take()
        if not self.behind:
            messages += self._unnumbered
            self._unnumbered = []
        return messages


def _segment(message: Envelope) -> int:
    return getattr(message.message, "segment", -1)
