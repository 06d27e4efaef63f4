"""When the audio of a batch session is read: in windows of time or size, for paid engines. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """A window is read when its oldest audio has waited `window_s` seconds, or `limit` samples wait."""

    window_s: float
    limit: int


class BatchCollector:
    """Delays the reading of one session's audio from Redis until its window is full."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._until: float = 0  # the sample up to which audio may be read
        self._since: float | None = None  # when the oldest unread audio was first observed

    def opens(self, read: int) -> bool:
        """Whether audio from sample `read` on may be read now."""
        return read < self._until

    def observe(self, *, received: int, read: int, ending: bool, now: float) -> None:
        """Update with the number of samples received and read; `now` in seconds."""
        if ending:
            self._until = float("inf")
        elif self.opens(read) or received <= read:
            self._since = None
        else:
            self._since = now if self._since is None else self._since
            if now - self._since >= self._options.window_s or received - read >= self._options.limit:
                self._until, self._since = received, None
