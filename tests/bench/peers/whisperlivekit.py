"""WhisperLiveKit: its `/asr` WebSocket, with faster-whisper, in both of its policies."""

from typing import Any

from bench.peers.system import ENVIRONMENTS, Dialect, System

BIN = ENVIRONMENTS / "whisperlivekit" / "bin"


class Asr(Dialect):
    """`WS /asr` with `--pcm-input`: every message holds the whole transcript and the unconfirmed rest."""

    path = "/asr"
    ending = b""

    def take(self, message: dict[str, Any]) -> None:
        """Confirmed lines and the buffer are the text; `ready_to_stop` follows the last one."""
        self.closed = message.get("type") == "ready_to_stop"
        self.refused = message.get("error") or ""
        if "lines" in message:
            parts = [line.get("text") or "" for line in message["lines"]]
            self.text = " ".join(filter(None, [*parts, message.get("buffer_transcription") or ""]))


def _system(name: str, *flags: str) -> System:
    chosen = ("--backend", "faster-whisper", *flags, "--lan", "en", "--pcm-input")
    server = (
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--log-level",
        "WARNING",
        "--warmup-file",
        "{warmup}",
    )
    shown = ["…" if flag.startswith("{") else flag for flag in chosen]
    return System(
        name=name,
        distribution="whisperlivekit",
        flags=f"`whisperlivekit-server {' '.join(shown)}`",
        dialect=Asr,
        command=(str(BIN / "whisperlivekit-server"), *chosen, *server),
        python=BIN / "python",
        ready_path="/health",
    )


_AGREEMENT = ("--backend-policy", "localagreement", "--model_dir", "{model}", "--model", "tiny.en")
LOCAL_AGREEMENT = _system("WhisperLiveKit", *_AGREEMENT)
EVERY_SECOND = _system("WhisperLiveKit, chunks of 1 s", *_AGREEMENT, "--min-chunk-size", "1")
SIMUL_STREAMING = _system(
    "WhisperLiveKit, SimulStreaming",
    *("--backend-policy", "simulstreaming", "--encoder-model-path", "{model}"),
    *("--decoder-model-path", "{checkpoint}", "--custom-alignment-heads", "{heads}"),
)
