"""An event as a channel or a history gives it, read once for all who listen in this process."""

from functools import cached_property
from typing import Any, Final

import orjson

CHECK: Final = "check"
"""Type of a message that isn't for clients: those who listen shall look again whether they may."""


class Published:
    """An event's bytes, and, made when first asked for, what they say."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def body(self) -> dict[str, Any]:
        """The event. Not to be changed: others read it too."""
        found: dict[str, Any] = orjson.loads(self.raw)
        return found

    @property
    def type(self) -> str:
        """What kind of event it is."""
        return str(self.body["type"])

    @property
    def seq(self) -> int | None:
        """Its place in the history; None if it isn't kept."""
        return self.body.get("seq")

    @cached_property
    def frame(self) -> bytes:
        """The event as a server-sent event, with an `id` if it's kept."""
        identity = b"" if self.seq is None else b"id: %d\n" % self.seq
        return b"%sevent: %s\ndata: %s\n\n" % (identity, self.type.encode(), self.raw)
