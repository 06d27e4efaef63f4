"""What a connection has read from its client and not yet stored."""

from dataclasses import dataclass
from typing import Final

from api_gateway.doors.base import ClientCommand
from parlando.domain.audio import PcmDecoder, WholeFrames
from parlando.domain.formats import AudioFormat

COMMAND_BYTES: Final = 4096  # that a queued command counts
CHUNK_BYTES: Final = 512  # that a queued audio message counts in addition to its audio


def decoder_of(form: AudioFormat) -> PcmDecoder | WholeFrames:
    """A decoder of a connection's bytes to whole samples or frames, so that a resume never splits one."""
    return PcmDecoder(form.encoding) if form.direct else WholeFrames(form.frame_bytes)


@dataclass(slots=True)
class Chunk:
    """Audio in whole samples or frames. `index`: see `doors.base.Audio`."""

    pcm: bytes
    index: int | None


def cost(item: Chunk | ClientCommand) -> int:
    """Bytes of the buffer that a queued item counts."""
    return CHUNK_BYTES + len(item.pcm) if isinstance(item, Chunk) else COMMAND_BYTES
