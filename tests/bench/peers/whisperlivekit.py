"""WhisperLiveKit: its `/asr` WebSocket, with faster-whisper and LocalAgreement."""

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
    own = ("--backend", "faster-whisper", "--backend-policy", "localagreement", "--lan", "en", *flags)
    model = ("--model_dir", "{model}", "--model", "tiny.en")
    server = ("--host", "127.0.0.1", "--port", "{port}", "--pcm-input", "--log-level", "WARNING")
    return System(
        name=name,
        distribution="whisperlivekit",
        flags=f"`whisperlivekit-server {' '.join((*own, '--model_dir …', '--pcm-input'))}`",
        dialect=Asr,
        command=(str(BIN / "whisperlivekit-server"), *own, *model, *server, "--warmup-file", "{warmup}"),
        python=BIN / "python",
        ready_path="/health",
    )


WHISPER_LIVE_KIT = _system("WhisperLiveKit")
EVERY_SECOND = _system("WhisperLiveKit, chunks of 1 s", "--min-chunk-size", "1")
