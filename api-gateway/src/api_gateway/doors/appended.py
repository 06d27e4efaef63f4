"""A session's text as it becomes stable, for protocols whose clients only append. Pure."""

from parlando.domain.events import FinalTranscript, Partial


class AppendedText:
    """Text that is only appended to. `text`: all of it, segments separated by a space."""

    def __init__(self) -> None:
        self.text = ""
        self._segment = -1
        self._known = ""  # what `text` contains of the segment

    def append(self, event: Partial | FinalTranscript) -> str:
        """The text that the event adds: stable words of a partial, or the rest of a final. May be empty."""
        settled = event.stable if isinstance(event, Partial) else event.text
        if event.segment != self._segment:
            self._segment, self._known = event.segment, ""
        new = settled[len(self._known) :]
        if not self._known and self.text and new:
            new = f" {new}"
        self._known = settled
        self.text += new
        return new

    def clear(self) -> None:
        """Begin a new text."""
        self.text = ""
