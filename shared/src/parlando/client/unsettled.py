"""What a client has said and may have to say again, in its order: audio and controls. Pure.

Positions are bytes of the session's audio. Three of them rise: `settled` (before it everything is in finals
that the client has), `stored` (before it everything is in the cluster) and `end` (everything that was said).
A new connection goes on from `stored`; if the cluster has lost its data, from `settled`.
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
    """Keeps audio until it is settled, and controls until they are certainly obeyed.

    `limit` bounds the bytes of stored audio that are kept; what isn't stored is always kept. A container
    (`whole`) can't be decoded from its middle: it is kept from its first byte on, or not at all.
    """

    def __init__(self, *, limit: int, whole: bool = False) -> None:
        self.settled = 0
        self.stored = 0
        self.end = 0
        self.size = 0
        """Bytes kept."""
        self.config: dict[str, Any] = {}
        """Changes of the session's config by controls that are not kept any more."""
        self._limit = limit
        self._whole = whole
        self._start = 0  # audio before it is not kept
        self._audio: deque[_Audio] = deque()
        self._controls: list[_Control] = []
        self._outgoing: deque[bytes | str] = deque()

    # --- what the caller says -----------------------------------------------------------------------

    def add(self, data: bytes) -> None:
        """Take audio bytes that follow those before."""
        self._audio.append(_Audio(self.end, data))
        self._outgoing.append(data)
        self.end += len(data)
        self.size += len(data)

    def control(self, message: dict[str, Any]) -> None:
        """Take a message of type `flush`, `config` or `end` that belongs behind the audio so far."""
        control = _Control(self.end, message)
        self._controls.append(control)
        self._outgoing.append(control.text)

    def next(self) -> bytes | str | None:
        """The next message for the connection; None if all were taken."""
        return self._outgoing.popleft() if self._outgoing else None

    # --- what the cluster says ----------------------------------------------------------------------

    def acknowledge(self, stored: int, settled: int) -> None:
        """Forget what won't be said again."""
        self.stored = max(self.stored, stored)
        self.settled = max(self.settled, settled)
        self._forget(min(self.settled, self.stored))
        if self.size > self._limit:
            self._forget(self.stored if self._whole else min(self.stored, self.end - self._limit))

    def flushed(self) -> None:
        """The oldest flush was answered."""
        for number, control in enumerate(self._controls):
            if control.message["type"] == "flush":
                del self._controls[number]
                return

    def connected(self, received: int, *, anew: bool = False) -> None:
        """Make ready what a new connection has to say to a cluster that has `received` bytes.

        A control behind which audio was received has been obeyed. One at exactly `received` may have been: it
        is said again, which changes nothing except that a flush may be answered twice. `anew`: the cluster
        had lost the session, so it knows nothing of flushes that it hasn't answered.
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
        """The session takes nothing more."""
        self._outgoing.clear()

    # --- what can be said again ---------------------------------------------------------------------

    @property
    def missing(self) -> int:
        """Bytes that are neither settled nor kept."""
        return max(0, self._start - (0 if self._whole else self.settled))

    @property
    def protected(self) -> bool:
        """Whether everything that isn't settled can be said again."""
        return not self.missing

    @property
    def again_from(self) -> int | None:
        """The byte from which audio can be said again to a cluster that lost it; None if that's of no use."""
        if self._whole:
            return 0 if self.protected else None
        return max(self.settled, self._start)

    def _forget(self, position: int) -> None:
        """Drop audio that ends at `position` or before, and the changes of config before it."""
        while self._audio and self._audio[0].end <= position:
            gone = self._audio.popleft()
            self._start = gone.end
            self.size -= len(gone.data)
        kept: list[_Control] = []
        for control in self._controls:
            if control.message["type"] == "config" and control.at < position:
                self.config |= {name: value for name, value in control.message.items() if name != "type"}
            else:
                kept.append(control)
        self._controls = kept
