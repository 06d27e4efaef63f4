"""The Omi app's custom speech-to-text socket (docs/omi.md). Pure.

Raw PCM in, finals out: the app appends every message to its transcript, so nothing else is ever sent.
"""

from typing import Any, Final

import orjson

from api_gateway.doors.base import Audio, Command, End, Ping
from parlando.errors import InvalidRequestError

SPEAKER: Final = "SPEAKER_00"


class Omi:
    """See the module."""

    def read(self, message: str | bytes) -> Command:
        """See `Dialect.read`; `CloseStream` ends, `KeepAlive` only shows that the app is there."""
        if isinstance(message, bytes):
            return Audio(message)
        try:
            said = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            raise InvalidRequestError(f"Expected a JSON object, but got {message[:80]!r}") from error
        match said:
            case {"type": "CloseStream"}:
                return End()
            case {"type": "KeepAlive"}:
                return Ping()
        raise InvalidRequestError(f"Expected type CloseStream or KeepAlive, but got {message[:80]!r}")

    def event(self, event: bytes) -> str | None:
        """See `Dialect.event`: finals with words in them, as one segment."""
        body = orjson.loads(event)
        if body["type"] != "final" or not body["text"]:
            return None
        segment = {"text": body["text"], "speaker": SPEAKER, "start": body["start"], "end": body["end"]}
        return orjson.dumps({"segments": [segment]}).decode()

    def say(self, **message: Any) -> None:
        """See `Dialect.say`: the app would take it for words."""
