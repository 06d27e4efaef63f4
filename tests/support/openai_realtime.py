"""A client of the OpenAI Realtime protocol without a network, and the events of a session for it."""

import base64
import json
from typing import Any

from api_gateway.doors.base import Audio, MessageError, Reply
from api_gateway.doors.openai_realtime import OpenAIRealtime
from api_gateway.handshake import Handshake
from parlando.domain.events import FinalTranscript, Flushed, Partial, SpeechStarted
from parlando.domain.formats import AudioFormat
from parlando.errors import ParlandoError

TRANSCRIPTION = "conversation.item.input_audio_transcription"
MANUAL = {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}}


class Session:
    """What `doors.base.OpenedSession` says of an opened session."""

    id = "s_0123456789abcdef0123"
    format = AudioFormat(sample_rate=24_000)
    received: dict[str, int] = {"received": 0}  # noqa: RUF012
    resume_token, seq, epoch, engine, model = "", 0, 0, "moonshine", "tiny"
    resumed: dict[str, Any] = {}  # noqa: RUF012


class Client:
    """A connection's protocol object, and what the client has been sent."""

    def __init__(self, *, opened: bool = True, claims: dict[str, Any] | None = None, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.door = OpenAIRealtime(Handshake(headers=names))
        self.door.claims = claims or {}
        self.sent: list[dict[str, Any]] = []
        if opened:
            self.request = self.door.request(None)
            self._take(self.door.greeting(Session()))

    def _take(self, messages) -> list[dict[str, Any]]:
        new = [json.loads(message) for message in messages]
        self.sent += new
        return new

    def say(self, body: Any) -> list[Any]:
        """Send an event; the commands without the replies, which are in `sent`."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        commands = list(self.door.commands(text))
        for command in commands:
            if isinstance(command, Reply):
                self._take(command.messages)
        return [command for command in commands if not isinstance(command, Reply)]

    def append(self, ms: int = 1000, rate: int = 24_000) -> None:
        audio = base64.b64encode(b"\1\0" * (rate * ms // 1000)).decode()
        [command] = self.say({"type": "input_audio_buffer.append", "audio": audio})
        assert isinstance(command, Audio)

    def commit(self) -> list[Any]:
        return self.say({"type": "input_audio_buffer.commit"})

    def hears(self, *events: Any) -> list[dict[str, Any]]:
        return [message for event in events for message in self._take(self.door.event(event))]

    def notice(self, error: ParlandoError) -> list[dict[str, Any]]:
        return self._take(self.door.notice(MessageError(error)))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["type"] == kind]

    @property
    def deltas(self) -> dict[str, str]:
        """The joined deltas of each item."""
        joined: dict[str, str] = {}
        for message in self.of(f"{TRANSCRIPTION}.delta"):
            joined[message["item_id"]] = joined.get(message["item_id"], "") + message["delta"]
        return joined

    @property
    def transcripts(self) -> dict[str, str]:
        return {m["item_id"]: m["transcript"] for m in self.of(f"{TRANSCRIPTION}.completed")}


def started(segment: int, start: float) -> SpeechStarted:
    return SpeechStarted(session_id="s", segment=segment, start=start)


def partial(segment: int, stable: str, more: str = "") -> Partial:
    return Partial(session_id="s", segment=segment, text=stable + more, stable=stable, start=0.5, end=1.0)


def final(segment: int, text: str, start: float = 0.5, end: float = 1.0, **more: Any) -> FinalTranscript:
    return FinalTranscript(session_id="s", segment=segment, text=text, start=start, end=end, **more)


FLUSHED = Flushed(session_id="s")


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [
        message["type"].replace(TRANSCRIPTION, "…").replace("input_audio_buffer", "…") for message in messages
    ]
