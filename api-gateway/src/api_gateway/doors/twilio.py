"""Twilio Media Streams, `WS /twilio/{key}` (docs/dialects/twilio.md). Pure.

Each track of a call is a session of its own. Nothing is sent to Twilio: the transcripts are read by viewers,
with server-sent events, by followers and webhooks. Silence that Twilio doesn't send is inserted, so that a
session's time is that of the call.
"""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

import orjson

from api_gateway.doors.base import (
    Audio,
    ClientCommand,
    LiveProtocol,
    Message,
    Refusal,
    SessionRequest,
    SplitProtocol,
    json_of,
)
from api_gateway.doors.deepgram_options import config_of
from api_gateway.settings import GatewaySettings
from api_gateway.twilio_signature import matches
from parlando.domain.annotations import Annotation
from parlando.domain.audio import Encoding
from parlando.domain.commands import End
from parlando.domain.events import SessionEvent
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError, NotAllowedError, ParlandoError
from parlando.ids import is_session_id, is_uid

RATE: Final = 8000  # Hz; mono µ-law, one byte per sample
BYTES_PER_MS: Final = RATE // 1000
SILENCE: Final = b"\xff"  # µ-law zero
GAP_MS: Final = 20  # one message; a shorter difference is jitter
MAX_GAP_MS: Final = 60_000  # inserted at once; a longer gap is shortened
START_S: Final = 10.0  # until `start`
WINDOW_S: Final = 30  # Twilio doesn't reconnect a stream
TRACKS: Final = ("inbound", "outbound")
OPTIONS: Final = ("language", "task", "translations", "prompt", "hotwords", "stages")
"""Parameters of `<Parameter>` that set the sessions' config; `uid` names the user."""


class Track(LiveProtocol):
    """One track of a call. `start`: the `start` object of the `start` message."""

    def __init__(self, protocol: "Twilio", track: str, start: dict[str, Any], *, single: bool) -> None:
        super().__init__(protocol.handshake)
        self._track = track
        self._start = start
        self._single = single
        self._sent = 0  # bytes of audio, inserted silence included

    def request(self, first: ClientCommand | None) -> SessionRequest:
        """A session whose id is the call's, with several tracks followed by `.inbound` or `.outbound`."""
        call = str(self._start.get("callSid", ""))
        name = call if self._single else f"{call}.{self._track}"
        given = self._start.get("customParameters")
        parameters = given if isinstance(given, dict) else {}
        options = {name: str(parameters[name]) for name in OPTIONS if parameters.get(name)}
        uid = str(parameters.get("uid", ""))
        return SessionRequest(
            session_id=name if is_session_id(name) else None,
            uid=uid if is_uid(uid) else "",
            push=True,
            window_s=WINDOW_S,
            config=config_of(
                {"title": f"{call} {self._track}"[:200], "speaker": self._track, "words": True, **options}
            ),
            format=AudioFormat(encoding=Encoding.MULAW, sample_rate=RATE),
        )

    def read(self, message: Message) -> Sequence[ClientCommand]:
        """Audio with the silence before it, and the end of the stream; other events are nothing."""
        body = orjson.loads(message)
        match body:
            case {"event": "media", "media": {"payload": str(payload), **media}}:
                audio = b64decode(payload, validate=True)
                gap = self._gap(media.get("timestamp"))
                self._sent += len(gap) + len(audio)
                return [Audio(gap + audio)]
            case {"event": "stop"}:
                return [End()]
            case {"event": "connected" | "start" | "dtmf" | "mark"}:
                return []
        raise InvalidRequestError(
            f"Expected event connected, start, media, dtmf, mark or stop, but got {message[:80]!r}"
        )

    def _gap(self, timestamp: object) -> bytes:
        """The silence between the audio so far and `timestamp`, in ms since the beginning of the stream."""
        if not isinstance(timestamp, str | int) or not str(timestamp).isdecimal() or len(str(timestamp)) > 12:
            return b""
        missing = int(timestamp) - self._sent // BYTES_PER_MS
        if missing < GAP_MS:
            return b""
        skipped = max(0, missing - MAX_GAP_MS)
        self._sent += skipped * BYTES_PER_MS
        return SILENCE * ((missing - skipped) * BYTES_PER_MS)

    def event(self, event: SessionEvent | Annotation) -> Sequence[Message]:
        """Nothing: Twilio can't show text."""
        return ()

    def refusal(self, error: ParlandoError) -> Refusal:
        """See `Twilio.refusal`."""
        return _refusal(error)


class Twilio(SplitProtocol):
    """The protocol of one stream, which carries one track or both."""

    refuses_handshake = True
    first_message_s = START_S

    _tracks: tuple[str, ...] = ()

    @property
    def key(self) -> str | None:
        """The key in the path; Twilio sends no query, and no headers of one's own."""
        return self.handshake.path.get("key") or self.handshake.token

    def verify(self, settings: GatewaySettings) -> None:
        """If an auth token is configured, check Twilio's signature of the URL."""
        token = settings.twilio_auth_token
        signature = self.handshake.headers.get("x-twilio-signature", "")
        if token and not matches(token, signature, self.handshake.url):
            raise NotAllowedError("Expected a valid X-Twilio-Signature of this URL")

    def channels(self, first: Message | None) -> Sequence[LiveProtocol] | None:
        """A channel for each track that `start` names; None for a message before it."""
        match json_of(first or b""):
            case {"event": "start", "start": dict(start)}:
                named = start.get("tracks")
                tracks = [track for track in TRACKS if isinstance(named, list) and track in named]
                self._tracks = tuple(tracks or TRACKS[:1])
                _check_format(start.get("mediaFormat"))
                single = len(self._tracks) == 1
                return [Track(self, track, start, single=single) for track in self._tracks]
            case {"event": "connected"}:
                return None
        raise InvalidRequestError(f"Expected event connected or start, but got {(first or b'')[:80]!r}")

    def split(self, message: Message) -> Sequence[tuple[int, Message]]:
        """Audio to its track, the end to all tracks, anything else to the first."""
        try:
            body = orjson.loads(message)
        except orjson.JSONDecodeError:
            return [(0, message)]
        match body:
            case {"event": "media", "media": {"track": str(track)}} if track in self._tracks:
                return [(self._tracks.index(track), message)]
            case {"event": "media", "media": {"track": str(track)}} if track in TRACKS:
                return []  # a track that `start` hasn't named
            case {"event": "stop"}:
                return [(index, message) for index in range(len(self._tracks))]
        return [(0, message)]

    def refusal(self, error: ParlandoError) -> Refusal:
        """A close code only."""
        return _refusal(error)


def _check_format(form: object) -> None:
    match form:
        case None | {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}:
            return
    raise InvalidRequestError(f"mediaFormat: expected 8 kHz mono audio/x-mulaw, but got {str(form)[:80]}")


def _refusal(error: ParlandoError) -> Refusal:
    code = 1013 if error.retryable else 1011 if error.code == "internal" else 1008
    return Refusal((), code, error.code)
