"""Deepgram's live transcription, `/v1/listen` and `/v2/listen` (Flux)."""

from typing import Any

from parlando.cli.conform.drivers.base import SocketDriver
from parlando.cli.conform.received import Received
from parlando.domain.audio import Pcm16


class Deepgram(SocketDriver):
    """`WS /v1/listen`."""

    name = "deepgram"
    summary = "Deepgram, WS /v1/listen"
    path = "/v1/listen?encoding=linear16&sample_rate=16000&channels=1&interim_results=true&punctuate=true"
    last = {"type": "CloseStream"}  # noqa: RUF012

    def headers(self) -> dict[str, str] | None:
        """See `SocketDriver`."""
        return {"Authorization": f"Token {self.target.key}"} if self.target.key else {}

    async def transcribe(self, clip: Pcm16) -> Received:
        """See `Driver`."""
        self.received.promises = False
        return await super().transcribe(clip)

    def take(self, message: dict[str, Any]) -> None:
        """See `SocketDriver`."""
        match message:
            case {
                "type": "Results",
                "is_final": True,
                "start": start,
                "channel": {"alternatives": [best, *_]},
            }:
                if best["transcript"]:
                    utterance = self.received.utterance(start)
                    utterance.finals.append(best["transcript"])
                    utterance.start, utterance.end = start, start + message["duration"]
                    utterance.words = [(word["start"], word["end"]) for word in best.get("words", [])]
            case {"type": "Error" | "Warning", **rest}:
                self.received.errors.append(str(rest.get("description", rest)))


class DeepgramFlux(Deepgram):
    """`WS /v2/listen`."""

    name = "deepgram-flux"
    summary = "Deepgram Flux, WS /v2/listen"
    path = "/v2/listen?model=flux-general-en&encoding=linear16&sample_rate=16000"

    def take(self, message: dict[str, Any]) -> None:
        """See `SocketDriver`."""
        match message:
            case {"type": "TurnInfo", "event": "EndOfTurn", "turn_index": turn, "transcript": text}:
                utterance = self.received.utterance(turn)
                utterance.finals.append(text)
                utterance.start, utterance.end = message["audio_window_start"], message["audio_window_end"]
            case {"type": "Error" | "FatalError" | "Warning", **rest}:
                self.received.errors.append(str(rest.get("description", rest)))
