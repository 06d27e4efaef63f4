"""Parlando's native protocol (docs/protocols.md)."""

import asyncio
from typing import Any

from parlando.cli.conform.drivers.base import Driver, messages
from parlando.cli.conform.heard import Heard
from parlando.domain.audio import Pcm16
from parlando.tasks import end


class Native(Driver):
    """`WS /v1/stt/stream`."""

    name = "native"
    summary = "Parlando's own, WS /v1/stt/stream"

    async def hear(self, clip: Pcm16) -> Heard:
        """See `Driver`."""
        async with self.connected("/v1/stt/stream?words=true") as socket:

            async def send() -> None:
                async for frame in self.paced(clip):
                    await socket.send(frame)
                await socket.send('{"type":"end"}')

            sending = asyncio.create_task(send())
            try:
                async for event in messages(socket):
                    self._take(event)
            finally:
                await end(sending)
            self.heard.close(socket.close_code)
        return self.heard

    def _take(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "partial", "segment": segment, "stable": stable} if stable:
                self.heard.utterance(segment).stable.append(stable)
            case {"type": "final", "segment": segment, "text": text}:
                utterance = self.heard.utterance(segment)
                utterance.finals.append(text)
                utterance.start, utterance.end = event["start"], event["end"]
                utterance.words = [(word["start"], word["end"]) for word in event.get("words", [])]
            case {"type": "error", "message": message}:
                self.heard.errors.append(message)
