"""omniASR-server's WebSocket."""

from typing import Any

from parlando.cli.conform.drivers.base import SocketDriver


class OmniASR(SocketDriver):
    """`WS /v1/audio/transcriptions`: one text for the whole session."""

    name = "omniasr"
    summary = "omniASR-server, WS /v1/audio/transcriptions"
    path = "/v1/audio/transcriptions"
    before = ({"type": "config", "sample_rate": 16_000, "language": "eng_Latn"},)
    last = {"type": "end"}  # noqa: RUF012

    def take(self, message: dict[str, Any]) -> None:
        """See `SocketDriver`."""
        if message.get("type") == "error":
            self.received.errors.append(str(message.get("message")))
        elif "is_final" in message:
            whole = self.received.utterance("whole")
            if message["is_final"]:
                whole.finals.append(message["text"])
            else:
                whole.stable.append(message["confirmed_text"])
