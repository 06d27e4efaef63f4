"""PCM in Parlando's internal format: 16 kHz, mono, signed 16 bit, little endian."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from parlando.errors import InvalidAudioError

SAMPLE_RATE = 16_000  # Hz; internal positions and lengths count samples at this rate
BYTES_PER_SAMPLE = 2
SAMPLES_PER_MS = SAMPLE_RATE // 1000

Pcm16 = npt.NDArray[np.int16]
Float32 = npt.NDArray[np.float32]


class Encoding(StrEnum):
    """Encoding of a client's audio bytes."""

    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"
    CONTAINER = "container"


def seconds(samples: int) -> float:
    """A position or length in samples, in seconds rounded to 0.1 ms."""
    return round(samples / SAMPLE_RATE, 4)


def milliseconds(samples: int) -> int:
    """A length in samples, in whole milliseconds (rounded down)."""
    return samples // SAMPLES_PER_MS


def samples(ms: float) -> int:
    """A length in milliseconds, in samples."""
    return round(ms * SAMPLES_PER_MS)


def to_float(pcm: Pcm16) -> Float32:
    """int16 samples of shape (n,) as float32 in [-1, 1)."""
    return pcm.astype(np.float32) / np.float32(32768)


class PcmDecoder:
    """Converts the bytes of one connection to s16le, whole samples only.

    Frames may have any length. The bytes of an incomplete sample are kept for the next frame.
    """

    def __init__(self, encoding: Encoding) -> None:
        assert encoding in (Encoding.PCM_S16LE, Encoding.PCM_F32LE)
        self._float = encoding is Encoding.PCM_F32LE
        self._frames = WholeFrames(4 if self._float else BYTES_PER_SAMPLE)

    def push(self, data: bytes) -> bytes:
        """The s16le samples completed by `data`; b"" if it completes none.

        Raises
        ------
        InvalidAudioError
            if float samples are NaN or infinite.

        """
        data = self._frames.push(data)
        if not self._float or not data:
            return data
        values = np.frombuffer(data, "<f4")
        if not np.isfinite(values).all():
            raise InvalidAudioError("Expected finite 32-bit float samples, but got NaN or infinity")
        pcm: bytes = (np.clip(values, -1.0, 32767 / 32768) * 32768).round().astype("<i2").tobytes()
        return pcm


class WholeFrames:
    """Splits a byte stream, received in blocks of any length, at multiples of `frame_bytes`."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._carry = b""

    def push(self, data: bytes) -> bytes:
        """The frames completed by `data`; b"" if it completes none."""
        if self._carry:
            data = self._carry + data
        whole = len(data) - len(data) % self._frame_bytes
        self._carry = data[whole:]
        return data[:whole]
