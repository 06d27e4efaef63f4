"""Audio that was sent but not acknowledged, kept for the case that it must be sent again. Pure."""

from collections import deque


class UnackedAudio:
    """Frames behind the acknowledged position. Positions in bytes of the session's audio."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.sent = 0
        self._frames: deque[bytes] = deque()

    def add(self, frame: bytes) -> None:
        """Remember a frame that is sent now."""
        self._frames.append(frame)
        self.sent += len(frame)

    def acknowledge(self, position: int) -> None:
        """Forget what lies before `position`."""
        while self._frames and self.acknowledged + len(self._frames[0]) <= position:
            self.acknowledged += len(self._frames.popleft())
        if self._frames and position > self.acknowledged:
            self._frames[0] = self._frames[0][position - self.acknowledged :]
            self.acknowledged = position

    def pending(self) -> list[bytes]:
        """The frames behind the acknowledged position, oldest first."""
        return list(self._frames)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self.sent - self.acknowledged
