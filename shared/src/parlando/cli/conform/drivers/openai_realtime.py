"""OpenAI's Realtime API, transcription sessions of the GA shape."""

import asyncio
import base64
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection

from parlando.cli.conform.drivers.base import Driver, resampled, text_of
from parlando.cli.conform.received import Received
from parlando.domain.audio import Pcm16
from parlando.tasks import end

RATE: Final = 24_000  # Hz, the only one of OpenAI's service
QUIET_S: Final = 3.0  # without an event, when all items are completed: the session is over
LONGEST_QUIET_S: Final = 60.0
NOTHING_LEFT: Final = "input_audio_buffer_commit_empty"
_ITEM: Final = "conversation.item.input_audio_transcription"


class OpenAIRealtime(Driver):
    """`WS /v1/realtime` with turn detection by the server; a commit ends the last turn."""

    name = "openai-realtime"
    summary = "OpenAI Realtime transcription, WS /v1/realtime"

    def __init__(self, *target: Any) -> None:
        super().__init__(*target)
        self._open: set[str] = set()  # items that are begun and not completed

    async def transcribe(self, clip: Pcm16) -> Received:
        """See `Driver`. The protocol has no end: the client closes when everything is completed."""
        options = {"type": "server_vad", "silence_duration_ms": 500}
        audio = {"format": {"type": "audio/pcm", "rate": RATE}, "turn_detection": options}
        update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio}}}
        async with self.connected("/v1/realtime?intent=transcription") as socket:

            async def send() -> None:
                await socket.send(text_of(update))
                async for frame in self.paced(resampled(clip, RATE), RATE):
                    chunk = base64.b64encode(frame).decode()
                    await socket.send(text_of({"type": "input_audio_buffer.append", "audio": chunk}))
                await socket.send(text_of({"type": "input_audio_buffer.commit"}))

            sending = asyncio.create_task(send())
            try:
                await self._receive(socket, sending)
            finally:
                await end(sending)
            await socket.close()
            self.received.close(socket.close_code)
        return self.received

    async def _receive(self, socket: ClientConnection, sending: asyncio.Task[None]) -> None:
        quiet_s = 0.0
        while quiet_s < (LONGEST_QUIET_S if self._open or not sending.done() else QUIET_S):
            try:
                async with asyncio.timeout(QUIET_S):
                    message = await socket.recv()
            except TimeoutError:
                quiet_s += QUIET_S
                continue
            quiet_s = 0.0
            self._take(orjson.loads(message))

    def _take(self, event: dict[str, Any]) -> None:
        received, item = self.received, event.get("item_id", "")
        match event["type"]:
            case "input_audio_buffer.speech_started":
                self._open.add(item)
                received.utterance(item).start = event["audio_start_ms"] / 1000
            case "input_audio_buffer.speech_stopped":
                received.utterance(item).end = event["audio_end_ms"] / 1000
            case "input_audio_buffer.committed":
                self._open.add(item)
            case kind if kind == f"{_ITEM}.delta":
                stable = received.utterance(item).stable
                stable.append((stable[-1] if stable else "") + event.get("delta", ""))
            case kind if kind == f"{_ITEM}.completed":
                self._open.discard(item)
                utterance = received.utterance(item)
                utterance.finals.append(event["transcript"])
                if utterance.stable and utterance.stable[-1] != event["transcript"]:
                    received.errors.append(f"the deltas of {item}, joined, are not its transcript")
            case kind if kind == f"{_ITEM}.failed" or kind == "error":
                self._open.discard(item)
                if event["error"].get("code") != NOTHING_LEFT:
                    received.errors.append(str(event["error"].get("message")))
