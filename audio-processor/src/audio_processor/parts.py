"""Finds where another recording begins in a stream of several that were joined byte by byte. Pure.

FFmpeg's demuxers of WAV and MP4 end with the first recording, so behind these any format of `_MARKS` is
looked for. That of FLAC goes on, but counts time at the first rate. That of Ogg goes on, but its decoders
keep the rate, channels or sizes of the first stream. Those of WebM, MP3 and AAC go on with recordings of
their own format, so these need nothing here.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from audio_processor.layout import ContainerLayout, Layout, PcmLayout

SEARCHED: Final = 1 << 20  # bytes of a WAV without a length that are best passed at a time
BOX: Final = 16  # bytes of a header of an MP4 box with a length of 64 bits
_HEAD: Final = 16  # bytes by which a recording is recognised
_MARKS: Final = ((b"RIFF", 0), (b"ftyp", 4), (b"\x1aE\xdf\xa3", 0), (b"OggS", 0), (b"fLaC", 0))
"""Bytes in the head of a recording, and where they are in it: WAV, MP4, WebM, Ogg, FLAC."""
_RECORDING: Final = re.compile(
    rb"RIFF....WAVE(?:fmt |JUNK|bext|LIST|fact|iXML|PEAK|FLLR)"
    rb"|\x00\x00[\x00-\x02].ftyp[\w ]{4}"
    rb"|\x1aE\xdf\xa3(?:[\x80-\xff]|\x01\x00{6}.)B[\x82\x86\xf2\xf3\xf7]"
    rb"|OggS\x00\x02\x00{8}"
    rb"|fLaC[\x00\x80]\x00\x00\x22",
    re.DOTALL,
)
"""Heads of recordings that are no chance: 50 bits or more of each are fixed."""
_TAG: Final = re.compile(rb"ID3[\x02-\x04]\x00")
"""The head of an MP3 with a tag; looked for only directly behind a recording."""
_STARTS: Final = (b"ID3", *(mark for mark, offset in _MARKS if not offset))
_PAGE: Final = 27  # bytes of an Ogg page before its table of segments
_FIRST: Final = 2  # flag of the first page of a stream
_LINK: Final = 19  # bytes of the first packet that are compared: those of an Opus head


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


class SearchedParts(Parts):
    """Samples that end at `end`, behind which another recording may begin; None if they may end anywhere."""

    best = SEARCHED

    def __init__(self, begin: int, end: int | None) -> None:
        self._begin = begin if end is None else end
        self._may_have_tag = end is not None
        self._kept = b""
        self.wanted = self._begin

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        if start > self.wanted:  # an earlier owner of the session has looked at what is before
            self.wanted, self._kept, self._may_have_tag = start, b"", False
        data = data[self.wanted - start :]
        if not data:
            return None
        looked, at = self._kept + data, self.wanted - len(self._kept)
        self.wanted += len(data)
        if (found := self._found(looked)) is not None:
            return at + found
        self._kept = looked[max(0, len(looked) - _HEAD + 1) :]
        self._may_have_tag = self._may_have_tag and len(looked) < _HEAD
        self.undecided = self.wanted - len(self._kept)
        return None

    def _found(self, looked: bytes) -> int | None:
        places = []
        if self._may_have_tag and (tag := _TAG.match(looked) or _TAG.match(looked, 1)):
            places.append(tag.start())
        for mark, offset in _MARKS:
            found = looked.find(mark, offset)
            while found >= 0:
                if _RECORDING.match(looked, found - offset):
                    places.append(found - offset)
                    break
                found = looked.find(mark, found + 1)
        return min(places, default=None)

    def decide(self) -> None:
        """See `Parts`."""
        self._kept, self.undecided, self._may_have_tag = b"", None, False


class ChunkParts(Parts):
    """A WAV whose chunks are followed to its samples: one that FFmpeg demuxes."""

    def __init__(self) -> None:
        self._at = 12
        self._kept = b""
        self._behind: SearchedParts | None = None

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
                self._behind = SearchedParts(self._at + 8, None if endless else behind - size % 2)
            self._at, self._kept = behind, b""
        return self._behind.push(start, data)


class FlacParts(Parts):
    """A FLAC: behind its metadata, another recording may begin at any byte, as frames have no length.

    See RFC 9639, 8.1.
    """

    best = SEARCHED

    def __init__(self) -> None:
        self._at = 0
        self._kept = b""
        self._in_tag = False
        self._behind: SearchedParts | None = None

    @property
    def wanted(self) -> int:  # type: ignore[override]
        """See `Parts`."""
        return self._behind.wanted if self._behind else self._at + len(self._kept)

    @property
    def undecided(self) -> int | None:  # type: ignore[override]
        """See `Parts`."""
        return self._behind.undecided if self._behind else None

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        if self._behind is None and start > self.wanted:  # an earlier owner has looked at what is before
            self._behind = SearchedParts(start, None)
        while self._behind is None:
            self._kept += data[self.wanted - start :][: 4 - len(self._kept)]
            if len(self._kept) < 4:
                return None
            head, self._kept = self._kept, b""
            if self._in_tag:  # the size of an ID3 tag, four times 7 bits
                size = sum((byte & 0x7F) << shift for byte, shift in zip(head, (21, 14, 7, 0), strict=True))
                self._at, self._in_tag = self._at + 4 + size, False
            elif not self._at and head.startswith(b"ID3"):
                self._at, self._in_tag = 6, True
            elif head == b"fLaC":
                self._at += 4
            else:  # the head of a block of metadata
                self._at += 4 + int.from_bytes(head[1:], "big")
                if head[0] & 0x80:
                    self._behind = SearchedParts(self._at, None)
        return self._behind.push(start, data)

    def decide(self) -> None:
        """See `Parts`."""
        if self._behind:
            self._behind.decide()


def _is_head(data: bytes) -> bool:
    """Whether another recording begins with `data`, of at least `_HEAD` bytes."""
    return bool(_RECORDING.match(data) or _TAG.match(data))


class BoxParts(Parts):
    """An MP4: a box `ftyp`, or the head of another format, behind a box `moov` begins another recording.

    See ISO/IEC 14496-12, 4.2.
    """

    def __init__(self) -> None:
        self._at = 0
        self._kept = b""
        self._indexed = False
        self._decided = False  # the box at `_at` belongs to this recording
        self._ended = False

    @property
    def wanted(self) -> int:  # type: ignore[override]
        """See `Parts`."""
        return 1 << 62 if self._ended else self._at + len(self._kept)

    @property
    def undecided(self) -> int | None:  # type: ignore[override]
        """See `Parts`."""
        return self._at if self._kept and self._indexed and not self._decided else None

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        while not self._ended and start <= self.wanted < start + len(data):
            begin = self.wanted - start
            self._kept += data[begin : begin + BOX - len(self._kept)]
            looked_for = self._indexed and not self._decided
            marked = looked_for and self._kept.startswith(_STARTS)
            if len(self._kept) < (_HEAD if marked else 8):
                return None
            if looked_for and (self._kept[4:8] == b"ftyp" or (marked and _is_head(self._kept))):
                return self._at
            size, kind = struct.unpack_from(">I4s", self._kept)
            if size == 1:
                if len(self._kept) < BOX:
                    return None
                size = struct.unpack_from(">Q", self._kept, 8)[0]
            self._indexed = self._indexed or kind == b"moov"
            self._ended = size < 8  # to the end of the file, or no box
            self._at, self._kept, self._decided = self._at + size, b"", False
        return None

    def decide(self) -> None:
        """See `Parts`."""
        self._decided = bool(self._kept)


class OggParts(Parts):
    """An Ogg: a stream that begins behind another one (RFC 3533, 6) and needs a decoder of its own.

    Every one does, but an Opus with as many channels as the one before.
    """

    def __init__(self) -> None:
        self._at = 0
        self._kept = b""
        self._link = b""  # the first bytes of the first packet of what is decoded now
        self._behind_heads = False
        self._decided = False
        self._ended = False

    @property
    def wanted(self) -> int:  # type: ignore[override]
        """See `Parts`."""
        return 1 << 62 if self._ended else self._at + len(self._kept)

    best = 512

    @property
    def undecided(self) -> int | None:  # type: ignore[override]
        """See `Parts`."""
        return self._at if self._kept and self._behind_heads and not self._decided else None

    def push(self, start: int, data: bytes) -> int | None:
        """See `Parts`."""
        while not self._ended and start <= self.wanted < start + len(data):
            begin = self.wanted - start
            page = self._kept + data[begin : begin + self.best - len(self._kept)]
            self._kept = page
            head = _PAGE + page[_PAGE - 1] if len(page) >= _PAGE else _PAGE
            if len(page) < head:
                return None
            body = sum(page[_PAGE:head])
            is_first = bool(page[5] & _FIRST)
            if is_first and len(page) < head + min(body, _LINK):
                return None
            self._ended = page[:4] != b"OggS"  # FFmpeg looks for the next page
            if is_first and not self._ended and self._begins_anew(page[head : head + min(body, _LINK)]):
                return self._at
            self._behind_heads = not is_first
            self._at, self._kept, self._decided = self._at + head + body, b"", False
        return None

    def _begins_anew(self, link: bytes) -> bool:
        """Whether a first page with the packet `link` begins another recording."""
        if self._link and not self._behind_heads:  # several streams at the same time, such as a picture
            return False
        before, self._link = self._link, link
        if not before or self._decided:
            return False
        both = link.startswith(b"OpusHead") and before.startswith(b"OpusHead")
        return not both or link[9:10] != before[9:10]

    def decide(self) -> None:
        """See `Parts`."""
        self._decided = bool(self._kept)


def parts_of(layout: Layout) -> Parts:
    """What finds the end of a recording with this layout, whose first byte has offset 0."""
    if isinstance(layout, PcmLayout):
        if not layout.skip:
            return NoParts()
        return SearchedParts(layout.skip, None if layout.size is None else layout.skip + layout.size)
    if layout.demuxer == "wav":
        return ChunkParts()
    made = {"mov": BoxParts, "ogg": OggParts, "flac": FlacParts}.get(layout.demuxer or "", NoParts)
    return made()


@dataclass(frozen=True, slots=True)
class Part:
    """One recording of a file: its bytes [start, end)."""

    start: int
    end: int
    layout: ContainerLayout
