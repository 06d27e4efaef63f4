"""The Omi app's custom speech-to-text socket, `WS /omi/stt` (docs/omi.md). Pure.

Raw PCM in, finals out. The app appends every message to its transcript, so nothing else is ever sent.
"""

from collections.abc import Sequence
from typing import Final

import orjson

from api_gateway.doors.base import (
    Audio,
    ClientCommand,
    LiveProtocol,
    Message,
    Ping,
    Refusal,
    SessionRequest,
)
from api_gateway.presenters.omi import speaker_of
from parlando.domain.annotations import Annotation
from parlando.domain.commands import End
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError, ParlandoError
from parlando.ids import is_uid

WINDOW_S: Final = 5  # the app opens a new session when it comes back


class OmiSocket(LiveProtocol):
    """See the module."""

    refuses_handshake = True
    idle_s = 90.0

    @property
    def key(self) -> str | None:
        """The key in the path, or where others have theirs."""
        return self.handshake.path.get("key") or self.handshake.token

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """Raw PCM at the query's `sample_rate`, for the transcript of `uid`."""
        query = self.handshake.query
        try:
            form = AudioFormat(sample_rate=int(query.get("sample_rate", 16_000)))
        except ValueError as error:
            raise InvalidRequestError(f"sample_rate: {error}") from error
        uid = query.get("uid", "phone")
        return SessionRequest(
            uid=uid if is_uid(uid) else "phone",
            push=True,
            window_s=WINDOW_S,
            config=SessionConfig(interim=False),
            format=form,
            preferred_language=query.get("language"),
        )

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio; `CloseStream` ends, `KeepAlive` only shows that the app is there."""
        if isinstance(message, bytes):
            return [Audio(message)]
        try:
            said = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            raise InvalidRequestError(f"Expected a JSON object, but got {message[:80]!r}") from error
        match said:
            case {"type": "CloseStream"}:
                return [End()]
            case {"type": "KeepAlive"}:
                return [Ping()]
        raise InvalidRequestError(f"Expected type CloseStream or KeepAlive, but got {message[:80]!r}")

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """Finals with words in them, as one segment each."""
        if not isinstance(event, FinalTranscript) or not event.text:
            return []
        segment = {
            "text": event.text,
            "speaker": speaker_of(event.speaker)["speaker"],
            "start": event.start,
            "end": event.end,
        }
        return [orjson.dumps({"segments": [segment]}).decode()]

    def refusal(self, error: ParlandoError) -> Refusal:
        """A close code alone, by which the app knows whether to come back."""
        code = 1013 if error.retryable else 1011 if error.code == "internal" else 1008
        return Refusal((), code, error.code)
