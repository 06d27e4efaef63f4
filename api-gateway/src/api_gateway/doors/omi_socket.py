"""The Omi app's custom speech-to-text socket, `WS /omi/stt` (docs/omi.md). Pure.

It receives raw PCM and sends only finals, because the app appends every message to its transcript.
"""

from collections.abc import Sequence
from typing import Final

import orjson
from pydantic import ValidationError

from api_gateway.doors.base import (
    Audio,
    ClientCommand,
    LiveProtocol,
    Message,
    Ping,
    Refusal,
    SessionRequest,
    explain,
    json_of,
)
from api_gateway.presenters.omi import speaker_of
from parlando.domain.annotations import Annotation
from parlando.domain.commands import End
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError, ParlandoError
from parlando.ids import is_uid

OPTIONS: Final = ("task", "translations", "prompt", "hotwords", "songs", "diarize")
"""Fields of the session's config that the query may contain, besides `language`."""
WINDOW_S: Final = 5  # the app never resumes: it opens a new session after it reconnects


class OmiSocket(LiveProtocol):
    """The Omi app's protocol."""

    refuses_handshake = True
    idle_s = 90.0

    @property
    def key(self) -> str | None:
        """The key in the path, else in the places that all protocols read."""
        return self.handshake.path.get("key") or self.handshake.token

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session of raw PCM at the query's `sample_rate`, for the user `uid`; its `OPTIONS`."""
        query = self.handshake.query
        options = {name: query[name] for name in OPTIONS if query.get(name)}
        try:
            form = AudioFormat(sample_rate=int(query.get("sample_rate", 16_000)))
        except ValueError as error:
            raise InvalidRequestError(f"sample_rate: {error}") from error
        try:
            config = SessionConfig(interim=False, **options)
        except ValidationError as error:
            raise InvalidRequestError(explain(error)) from error
        uid = query.get("uid", "phone")
        return SessionRequest(
            uid=uid if is_uid(uid) else "phone",
            push=True,
            window_s=WINDOW_S,
            config=config,
            format=form,
            preferred_language=query.get("language"),
        )

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio, `CloseStream` (end of audio) or `KeepAlive`."""
        if isinstance(message, bytes):
            return [Audio(message)]
        match json_of(message):
            case {"type": "CloseStream"}:
                return [End()]
            case {"type": "KeepAlive"}:
                return [Ping()]
        raise InvalidRequestError(f"Expected type CloseStream or KeepAlive, but got {message[:80]!r}")

    def event(self, event: SessionEvent | Annotation) -> Sequence[str]:
        """A final with text, as one segment."""
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
        """A close code only, by which the app decides whether to reconnect."""
        code = 1013 if error.retryable else 1011 if error.code == "internal" else 1008
        return Refusal((), code, error.code)
