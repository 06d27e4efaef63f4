"""AssemblyAI's universal streaming, v3."""

from typing import Any

from parlando.cli.conform.drivers.base import SocketDriver


class AssemblyAI(SocketDriver):
    """`WS /v3/ws`."""

    name = "assemblyai"
    summary = "AssemblyAI streaming v3, WS /v3/ws"
    path = "/v3/ws?sample_rate=16000&encoding=pcm_s16le&format_turns=false"
    last = {"type": "Terminate"}  # noqa: RUF012

    def headers(self) -> dict[str, str] | None:
        """See `SocketDriver`."""
        return {"Authorization": self.target.key} if self.target.key else {}

    def take(self, message: dict[str, Any]) -> None:
        """See `SocketDriver`. Words are stable when they are final."""
        match message:
            case {"type": "Turn", "turn_order": turn, "words": words}:
                utterance = self.received.utterance(turn)
                if message["end_of_turn"]:
                    utterance.finals.append(message["transcript"])
                    utterance.words = [(word["start"] / 1000, word["end"] / 1000) for word in words]
                    if words:
                        utterance.start, utterance.end = utterance.words[0][0], utterance.words[-1][1]
                else:
                    utterance.stable.append(" ".join(word["text"] for word in words if word["word_is_final"]))
            case {"type": "Error", "error": error}:
                self.received.errors.append(str(error))
