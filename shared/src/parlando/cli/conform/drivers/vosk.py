"""vosk-server's protocol."""

from typing import Any

from parlando.cli.conform.drivers.base import SocketDriver


class Vosk(SocketDriver):
    """`WS /vosk`; vosk-server itself has it at `/`."""

    name = "vosk"
    summary = "Vosk, WS /vosk"
    path = "/vosk"
    before = ({"config": {"sample_rate": 16_000, "words": True}},)
    last = {"eof": 1}  # noqa: RUF012

    def take(self, message: dict[str, Any]) -> None:
        """See `SocketDriver`. A result has no number; its words have times."""
        self.received.promises = False
        if "error" in message:
            self.received.errors.append(str(message["error"]))
        elif text := message.get("text"):
            utterance = self.received.utterance(len(self.received.utterances))
            utterance.finals.append(text)
            utterance.words = [(word["start"], word["end"]) for word in message.get("result", [])]
            if utterance.words:
                utterance.start, utterance.end = utterance.words[0][0], utterance.words[-1][1]
