"""Parlando's native protocol (docs/protocols.md)."""

from typing import Any

from parlando.cli.conform.drivers.base import SocketDriver


class Native(SocketDriver):
    """`WS /v1/stt/stream`."""

    name = "native"
    summary = "Parlando's own, WS /v1/stt/stream"
    path = "/v1/stt/stream?words=true"
    last = {"type": "end"}  # noqa: RUF012

    def take(self, message: dict[str, Any]) -> None:
        """See `SocketDriver`."""
        match message:
            case {"type": "partial", "segment": segment, "stable": stable} if stable:
                self.received.utterance(segment).stable.append(stable)
            case {"type": "final", "segment": segment, "text": text}:
                utterance = self.received.utterance(segment)
                utterance.finals.append(text)
                utterance.start, utterance.end = message["start"], message["end"]
                utterance.words = [(word["start"], word["end"]) for word in message.get("words", [])]
            case {"type": "error", "message": error}:
                self.received.errors.append(error)
