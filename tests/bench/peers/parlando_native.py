"""Parlando with the settings of `make run`: two transcribers on two cores, and its own protocol."""

import sys
from pathlib import Path
from typing import Any

from bench.peers.system import Dialect, System
from bench.traces import NativeText


class Native(Dialect):
    """`WS /v1/stt/stream`: 16 kHz PCM, events as JSON."""

    path = "/v1/stt/stream"
    ending = '{"type":"end"}'

    def __init__(self) -> None:
        super().__init__()
        self._text = NativeText()

    def take(self, message: dict[str, Any]) -> None:
        """Partials and finals change the text; `closed` ends the session."""
        shown = self._text.take(message)
        self.text = self.text if shown is None else shown
        self.closed = message["type"] == "closed"
        if message["type"] == "error":
            self.refused = message["code"]


PARLANDO = System(
    name="Parlando",
    distribution="parlando",
    flags="`WHISPER_MODEL=… make run`, no other setting",
    dialect=Native,
    command=(str(Path(sys.executable).with_name("parlando")), "up"),
    environment={"PORT": "{port}", "PROCESSOR_PORT": "{second_port}", "WHISPER_MODEL": "{model}"},
    ready_path="/ready",
)
