"""WhisperLive: its WebSocket, with faster-whisper and one model for all clients."""

import json
from typing import Any, ClassVar

import numpy as np

from bench.peers.system import ENVIRONMENTS, Dialect, System

_START = (
    "import sys; from whisper_live.server import TranscriptionServer; "
    "TranscriptionServer().run('127.0.0.1', port=int(sys.argv[1]), backend='faster_whisper', "
    "faster_whisper_custom_model_path=sys.argv[2], single_model=True, max_clients=200, "
    "max_connection_time=6000)"
)


class Segments(Dialect):
    """float32 samples in, the last ten segments out, of which a completed one is final."""

    path = ""
    ending = b"END_OF_AUDIO"
    linger_s = 15.0  # `disconnect_if_no_response_for` of its client; END_OF_AUDIO ends all decoding
    _opened: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.ready = False
        self._completed: dict[float, str] = {}
        Segments._opened += 1
        self.greeting = json.dumps(
            {
                "uid": f"session-{Segments._opened}",
                "language": "en",
                "task": "transcribe",
                "model": "tiny.en",
                "use_vad": True,
            }
        )

    def take(self, message: dict[str, Any]) -> None:
        """A segment is known by its start; those that have left the last ten stay in the text."""
        if message.get("message") == "SERVER_READY":
            self.ready = True
        if message.get("status") in {"WAIT", "ERROR"}:
            self.refused = f"{message['status']}: {message.get('message')}"
        if "segments" in message:
            rest = []
            for segment in message["segments"]:
                if segment.get("completed"):
                    self._completed[float(segment["start"])] = segment["text"].strip()
                else:
                    rest.append(segment["text"].strip())
            done = [text for _, text in sorted(self._completed.items())]
            self.text = " ".join(filter(None, [*done, *rest]))

    def frame(self, pcm: np.ndarray) -> bytes:
        """32-bit floats, which is what the server reads by default."""
        return (pcm / np.float32(32768)).astype("<f4").tobytes()


WHISPER_LIVE = System(
    name="WhisperLive",
    distribution="whisper-live",
    flags="`TranscriptionServer().run(backend='faster_whisper', faster_whisper_custom_model_path=…, "
    "single_model=True, max_clients=200, max_connection_time=6000)`",
    dialect=Segments,
    command=("{python}", "-c", _START, "{port}", "{model}"),
    python=ENVIRONMENTS / "whisperlive" / "bin" / "python",
)
