"""The audio and controls that a client has sent and may have to resend, in order. No I/O.

Positions count bytes of the session's audio. Three positions only increase: `settled` (audio before it is in
finals that the client has received), `stored` (audio before it is in the cluster) and `end` (all audio).
A new connection continues from `stored`; if the cluster has lost its data, from `settled`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class _Audio:
    at: int
    data: bytes

    @property
    def end(self) -> int:
        return self.at + len(self.data)


@dataclass(frozen=True, slots=True)
class _Control:
    at: int
    message: dict[str, Any]

    @property
    def text(self) -> str:
        return orjson.dumps(self.message).decode()


class Unsettled:
    """Keeps audio until it is settled, and controls until they are certainly executed.

    `limit`: maximum bytes of stored audio kept; audio that is not stored is always kept. A container
    (`whole`) can only be decoded from its first byte: it is kept completely, or not at all.
    """

    def __init__(self, *, limit: int, whole: bool = False) -> None:
        self.settled = 0
        self.stored = 0
        self.end = 0
        self.size = 0
        """Bytes kept."""
        self.config: dict[str, Any] = {}
        """Config changes of controls that are no longer kept."""
        self._limit = limit
        self._whole = whole
        self._start = 0  # position of the first byte kept
        self._audio: deque[_Audio] = deque()
        self._controls: list[_Control] = []
        self._outgoing: deque[bytes | str] = deque()

    # --- from the caller ----------------------------------------------------------------------------

    def add(self, data: bytes) -> None:
        """Append audio bytes."""
        self._audio.append(_Audio(self.end, data))
        self._outgoing.append(data)
        self.end += len(data)
        self.size += len(data)

    def control(self, message: dict[str, Any]) -> None:
        """Append a message of type `flush`, `config` or `end` after the audio so far."""
        control = _Control(self.end, message)
        self._controls.append(control)
        self._outgoing.append(control.text)

    def next(self) -> bytes | str | None:
        """Take the next message to send; None if there is none."""
        return self._outgoing.popleft() if self._outgoing else None

    # --- from the cluster ---------------------------------------------------------------------------

    def acknowledge(self, stored: int, settled: int) -> None:
        """Advance the positions and drop what need not be resent."""
        self.stored = max(self.stored, stored)
        self.settled = max(self.settled, settled)
        self._forget(min(self.settled, self.stored))
        if self.size > self._limit:
            self._forget(self.stored if self._whole else min(self.stored, self.end - self._limit))

    def flushed(self) -> None:
        """Drop the oldest flush, which was answered."""
        for number, control in enumerate(self._controls):
            if control.message["type"] == "flush":
                del self._controls[number]
                return

    def connected(self, received: int, *, anew: bool = False) -> None:
        """Queue the messages that a new connection must send to a cluster that has `received` bytes.

        A control followed by received audio was executed. One at exactly `received` may have been: it is
        resent, which is idempotent, except that a flush may be answered twice. `anew`: the cluster had lost
        the session, so all unanswered flushes are resent.
        """
        self.stored = received
        self._outgoing.clear()
        controls = deque(
            control
            for control in self._controls
            if control.at >= received or (anew and control.message["type"] == "flush")
        )
        for audio in self._audio:
            while controls and controls[0].at <= audio.at:
                self._outgoing.append(controls.popleft().text)
            if audio.end > received:
                self._outgoing.append(audio.data[max(0, received - audio.at) :])
        self._outgoing.extend(control.text for control in controls)

    def finished(self) -> None:
        """The session accepts no more messages: drop the queued ones."""
        self._outgoing.clear()

    # --- what can be resent -------------------------------------------------------------------------

    @property
    def missing(self) -> int:
        """Bytes that are neither settled nor kept."""
        return max(0, self._start - (0 if self._whole else self.settled))

    @property
    def protected(self) -> bool:
        """Whether all unsettled audio can be resent."""
        return not self.missing

    @property
    def again_from(self) -> int | None:
        """The position from which audio that the cluster lost is resent; None for an incomplete container."""
        if self._whole:
            return 0 if self.protected else None
        return max(self.settled, self._start)

    def _forget(self, position: int) -> None:
        """Drop audio that ends at or before `position`, and merge config changes before it into `config`."""
        while self._audio and self._audio[0].end <= position:
            dropped = self._audio.popleft()
            self._start = dropped.end
            self.size -= len(dropped.data)
        kept: list[_Control] = []
        for control in self._controls:
            if control.message["type"] == "config" and control.at < position:
                self.config |= {name: value for name, value in control.message.items() if name != "type"}
            else:
                kept.append(control)
        self._controls = kept
