"""What is still to be sent to one client, in order and bounded. Pure.

Kept events are never dropped: if too many wait, the rest is read from the history later. Of the others
only the newest matter: a client that reads slowly skips partials, never finals.
"""

from collections import deque
from typing import Final

from parlando.domain.events import FinalTranscript
from parlando.store.envelope import Envelope

MAX_KEPT: Final = 64


class Outbox:
    """Messages from a session's channel and history, put in order. `sent` is the last seq given out."""

    def __init__(self, sent: int) -> None:
        self.sent = sent
        self.behind = False
        """Whether the history holds events that are not here."""
        self._seen = sent  # the last kept event known to exist
        self._kept: deque[tuple[int, Envelope]] = deque()
        self._passing: list[Envelope] = []

    def put(self, message: Envelope) -> None:
        """Take a message from the channel."""
        if message.seq is not None:
            self._keep(message.seq, message)
        else:
            if message.type == "partial":
                self._passing = [p for p in self._passing if p.type != "partial"]
            self._passing.append(message)

    def _keep(self, seq: int, message: Envelope) -> None:
        self._seen = max(self._seen, seq)
        if seq <= self.newest or self.behind:
            return
        if seq != self.newest + 1 or len(self._kept) >= MAX_KEPT:
            self.behind = True
            return
        self._append(seq, message)

    def _append(self, seq: int, message: Envelope) -> None:
        self._kept.append((seq, message))
        if isinstance(final := message.message, FinalTranscript):
            self._passing = [p for p in self._passing if _segment(p) > final.segment]

    def missed(self) -> None:
        """The channel was interrupted: what it carried is in the history."""
        self.behind = True

    def refill(self, messages: list[Envelope], *, complete: bool) -> None:
        """Take events read from the history behind `newest`; `complete` if it has no more of them."""
        for message in messages:
            if message.seq is not None and message.seq > self.newest:
                self._append(message.seq, message)
        if complete and not messages:
            self._seen = self.newest  # the history ends here, whatever was heard of
        self.behind = not complete or self._seen > self.newest

    @property
    def newest(self) -> int:
        """The last kept event that was sent or waits here; the history is read from behind it."""
        return self._kept[-1][0] if self._kept else self.sent

    def take(self) -> list[Envelope]:
        """Everything that may be sent now."""
        messages = [message for _, message in self._kept]
        if self._kept:
            self.sent = self._kept[-1][0]
            self._kept.clear()
        if not self.behind:
            messages += self._passing
            self._passing = []
        return messages


def _segment(message: Envelope) -> int:
    return getattr(message.message, "segment", -1)
