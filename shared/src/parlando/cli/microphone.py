"""The microphone of this machine, with the package sounddevice."""

import time
from typing import Any

from parlando.client import ClientError
from parlando.domain.audio import SAMPLE_RATE


def sounddevice() -> Any:
    """The package. Raises `ClientError` if it or its library is missing."""
    try:
        import sounddevice as package
    except ImportError as error:
        raise ClientError(
            "no_microphone", "The package sounddevice is missing: .venv/bin/pip install sounddevice"
        ) from error
    except OSError as error:  # the PortAudio library is missing
        raise ClientError(
            "no_microphone", f"{error}; install it (Debian and Ubuntu: apt install libportaudio2)"
        ) from error
    return package


def recorded(seconds: int) -> bytes:
    """Record 16 kHz mono s16le. Raises `ClientError` if there is no microphone."""
    sound = sounddevice()
    pieces: list[bytes] = []
    try:
        with sound.RawInputStream(
            SAMPLE_RATE, channels=1, dtype="int16", callback=lambda data, *_: pieces.append(bytes(data))
        ):
            time.sleep(seconds)
    except sound.PortAudioError as error:
        raise ClientError("no_microphone", f"No microphone can be opened: {error}") from error
    return b"".join(pieces)
