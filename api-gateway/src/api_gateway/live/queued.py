"""What a connection has read from its client and not yet stored."""

from dataclasses import dataclass
from typing import Final

from api_gateway.doors.base import ClientCommand
from parlando.domain.audio import SAMPLE_RATE, PcmDecoder, WholeFrames
from parlando.domain.formats import AudioFormat
from parlando.domain.pcm_check import PcmCheck

COMMAND_BYTES: Final = 4096  # that a queued command counts
CHUNK_BYTES: Final = 512  # that a queued audio message counts in addition to its audio
MAX_UNCONVERTED: Final = 4 << 20  # bytes of a container that may wait for FFmpeg
MAX_UNCONVERTED_S: Final = 10  # seconds of raw audio that may wait for FFmpeg


class Decoder:
    """Makes whole samples or frames of a connection's bytes, so that a resume never splits one."""

    def __init__(self, form: AudioFormat) -> None:
        self._check = None if form.whole else PcmCheck(form.encoding)
        self._frames = PcmDecoder(form.encoding) if form.direct else WholeFrames(form.frame_bytes)

    def push(self, data: bytes) -> bytes:
        """The samples or frames that `data` completes.

        Raises
        ------
        InvalidAudioError
            if the bytes aren't what the format says. See `PcmCheck` and `PcmDecoder`.

        """
        if self._check is not None:
            self._check.push(data)
        return self._frames.push(data)


@dataclass(slots=True)
class Chunk:
    """Audio in whole samples or frames. `index`: see `doors.base.Audio`."""

    pcm: bytes
    index: int | None


def cost(item: Chunk | ClientCommand) -> int:
    """Bytes of the buffer that a queued item counts."""
    return CHUNK_BYTES + len(item.pcm) if isinstance(item, Chunk) else COMMAND_BYTES


def max_backlog(form: AudioFormat, buffer_max_s: float) -> int:
    """Limit of the backlog in Redis: samples, or bytes if the audio-processor converts the audio."""
    if form.direct:
        return int(buffer_max_s * SAMPLE_RATE)
    bytes_per_second = form.bytes_per_second
    return MAX_UNCONVERTED if bytes_per_second is None else MAX_UNCONVERTED_S * bytes_per_second
