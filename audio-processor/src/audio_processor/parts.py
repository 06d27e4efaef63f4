"""Finds where another recording begins in a stream of several that were joined byte by byte. Pure.

FFmpeg's demuxers of WAV and MP4 end with the first recording. Those of WebM, Ogg, MP3, AAC and FLAC go on
with the next one, so these need nothing here.
"""

import struct
from dataclasses import dataclass
from typing import Final

from audio_processor.layout import ContainerLayout, Layout, PcmLayout

SEARCHED: Final = 1 << 20  # bytes of a WAV without a length that are best passed at a time
BOX: Final = 16  # bytes of a header of an MP4 box with a length of 64 bits
_HEAD: Final = 16  # bytes of a WAV by which it is recognised
_CHUNKS: Final = (b"fmt ", b"JUNK", b"bext", b"LIST", b"fact", b"iXML", b"PEAK", b"FLLR")


class Parts:
    """Looks at the bytes of one recording, from its first one on, until another begins.

    `wanted`: the offset of the next byte that `push` needs; `best`: how many bytes from there on it can use.
    """

    wanted = 0
    best = BOX
    undecided: int | None = None
    """The offset of the last bytes, if they may be samples or the beginning of another recording."""

    def push(self, start: int, data: bytes) -> int | None:
        """Look at the bytes from offset `start` on. Returns the offset at which another recording begins.

        Bytes may be left out up to `wanted`, and repeated.
        """
        raise NotImplementedError

    def decide(self) -> None:
        """The undecided bytes are samples of this recording."""


class NoParts(Parts):
    """Of formats whose demuxer reads all recordings."""

    wanted = 1 << 62

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        return None


class WavParts(Parts):
    """A WAV whose samples end at `end`, after which another may begin; None if any byte may be the end."""

    best = SEARCHED

    def __init__(self, begin: int, end: int | None) -> None:
        self._begin = begin if end is None else end
        self._kept = b""
        self.wanted = self._begin

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        if start > self.wanted:  # an earlier owner of the session has looked at what is before
            self.wanted, self._kept = start, b""
        data = data[self.wanted - start :]
        if not data:
            return None
        looked, at = self._kept + data, self.wanted - len(self._kept)
        self.wanted += len(data)
        found = looked.find(b"RIFF")
        while found >= 0 and found + _HEAD <= len(looked):
            if looked[found + 8 : found + 12] == b"WAVE" and looked[found + 12 : found + 16] in _CHUNKS:
                return at + found
            found = looked.find(b"RIFF", found + 1)
        cut = max((n for n in (1, 2, 3) if looked.endswith(b"RIFF"[:n])), default=0)
        self._kept = looked[len(looked) - cut :] if found < 0 else looked[found:]
        self.undecided = self.wanted - len(self._kept) if self._kept else None
        return None

    def decide(self) -> None:
        """See `Parts`."""
        self._kept, self.undecided = b"", None


class ChunkParts(Parts):
    """A WAV whose chunks are followed to its samples: one that FFmpeg demuxes."""

    def __init__(self) -> None:
        self._at = 12
        self._kept = b""
        self._behind: WavParts | None = None

    @property
    def wanted(self) -> int:  # type: ignore[override]
        """See `Parts`."""
        return self._behind.wanted if self._behind else self._at + len(self._kept)

    @property
    def best(self) -> int:  # type: ignore[override]
        """See `Parts`."""
        return self._behind.best if self._behind else BOX

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        while self._behind is None:
            missing = (
                data[max(0, self.wanted - start) :][: 8 - len(self._kept)] if start <= self.wanted else b""
            )
            self._kept += missing
            if len(self._kept) < 8:
                return None
            name, size = self._kept[:4], struct.unpack_from("<I", self._kept, 4)[0]
            behind = self._at + 8 + size + size % 2
            if name == b"data":
                endless = size in (0, 0xFFFFFFFF) or size > 0x7FFFFFFF
                self._behind = WavParts(self._at + 8, None if endless else behind - size % 2)
            self._at, self._kept = behind, b""
        return self._behind.push(start, data)


class BoxParts(Parts):
    """An MP4: another begins with a box `ftyp` behind a box `moov` (ISO/IEC 14496-12, 4.2)."""

    def __init__(self) -> None:
        self._at = 0
        self._kept = b""
        self._indexed = False
        self._ended = False

    @property
    def wanted(self) -> int:  # type: ignore[override]
        """See `Parts`."""
        return 1 << 62 if self._ended else self._at + len(self._kept)

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        while not self._ended and start <= self.wanted < start + len(data):
            begin = self.wanted - start
            self._kept += data[begin : begin + BOX - len(self._kept)]
            if len(self._kept) < 8:
                return None
            size, kind = struct.unpack_from(">I4s", self._kept)
            if kind == b"ftyp" and self._at and self._indexed:
                return self._at
            if size == 1:
                if len(self._kept) < BOX:
                    return None
                size = struct.unpack_from(">Q", self._kept, 8)[0]
            self._indexed = self._indexed or kind == b"moov"
            self._ended = size < 8  # to the end of the file, or no box
            self._at, self._kept = self._at + size, b""
        return None


def parts_of(layout: Layout) -> Parts:
    """What finds the end of a recording with this layout, whose first byte has offset 0."""
    if isinstance(layout, PcmLayout):
        if not layout.skip:
            return NoParts()
        return WavParts(layout.skip, None if layout.size is None else layout.skip + layout.size)
    if layout.demuxer == "wav":
        return ChunkParts()
    return BoxParts() if layout.demuxer == "mov" else NoParts()


@dataclass(frozen=True, slots=True)
class Part:
    """One recording of a file: its bytes [start, end)."""

    start: int
    end: int
    layout: ContainerLayout
