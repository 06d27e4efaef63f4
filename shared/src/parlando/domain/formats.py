"""The audio format of a client's bytes, and whether it needs conversion."""

from math import gcd, lcm
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from parlando.domain.audio import SAMPLE_RATE, Encoding

LOWEST_RATE: Final = 8_000  # Hz, for raw encodings
HIGHEST_RATE: Final = 48_000
MAX_CHANNELS: Final = 8
SETTLED_STEP: Final = 512
"""Samples per frame of the voice detector. Audio resent from a multiple of this is split into the same
frames, and so into the same segments, as the first time."""

_WIDTHS: Final = {
    Encoding.PCM_S16LE: 2,
    Encoding.PCM_F32LE: 4,
    Encoding.MULAW: 1,
    Encoding.ALAW: 1,
    Encoding.CONTAINER: 1,
}


class AudioFormat(BaseModel):
    """Audio format of a session's input bytes. `sample_rate` and `channels` are ignored for containers."""

    model_config = ConfigDict(frozen=True)

    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: int = Field(SAMPLE_RATE, description="Hz")
    channels: int = Field(1, ge=1, le=MAX_CHANNELS)
    channel: int | None = Field(
        None, ge=0, lt=MAX_CHANNELS, description="Use only this channel; none to mix all"
    )
    normalize: bool = Field(False, description="High-pass and limiter before recognition")

    @model_validator(mode="after")
    def _fits(self) -> "AudioFormat":
        if self.encoding is not Encoding.CONTAINER:
            if not LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE:
                raise ValueError(
                    f"expected a sample_rate of {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {self.sample_rate}"
                )
            if self.channel is not None and self.channel >= self.channels:
                raise ValueError(
                    f"expected channel below {self.channels}, the number of channels, but got {self.channel}"
                )
        return self

    @property
    def direct(self) -> bool:
        """Whether no conversion by FFmpeg is needed: 16 kHz mono PCM."""
        return (
            self.encoding in (Encoding.PCM_S16LE, Encoding.PCM_F32LE)
            and (self.sample_rate, self.channels) == (SAMPLE_RATE, 1)
            and not self.normalize
        )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels; 1 for containers, where it is unknown."""
        return 1 if self.encoding is Encoding.CONTAINER else _WIDTHS[self.encoding] * self.channels

    @property
    def whole(self) -> bool:
        """Whether decoding must start at the first byte."""
        return self.encoding is Encoding.CONTAINER

    def samples(self, position: int) -> int:
        """The 16 kHz sample at `position`, which counts samples at the client's rate."""
        return position * SAMPLE_RATE // self.sample_rate

    def settled(self, samples: int) -> int:
        """The position from which a client must resend audio to have all 16 kHz samples from `samples` on.

        In samples at the client's rate, aligned to `SETTLED_STEP`; 0 for a container.
        """
        if self.whole:
            return 0
        step = lcm(SETTLED_STEP, SAMPLE_RATE // gcd(SAMPLE_RATE, self.sample_rate))
        return samples // step * step * self.sample_rate // SAMPLE_RATE

    @property
    def bytes_per_second(self) -> int | None:
        """Bytes per second of audio; None for containers."""
        return None if self.encoding is Encoding.CONTAINER else self.frame_bytes * self.sample_rate


CANONICAL: Final = AudioFormat()
"""16 kHz mono s16le, the internal format."""
