"""What a connection has read from its client and not yet stored."""

from dataclasses import dataclass
from typing import Final

from api_gateway.doors.base import ClientCommand
from parlando.domain.audio import PcmDecoder, WholeFrames
from parlando.domain.formats import AudioFormat
from parlando.domain.pcm_check import PcmCheck

COMMAND_BYTES: Final = 4096  # that a queued command counts
CHUNK_BYTES: Final = 512  # that a queued audio message counts in addition to its audio


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
