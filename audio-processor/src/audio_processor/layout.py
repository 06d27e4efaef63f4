"""Recognises the format of a stream from its first bytes. Pure.

PCM, raw or in a WAV, has a `PcmLayout`, from which the offset of any sample can be computed. Everything else
has a `ContainerLayout` with FFmpeg's demuxer for it.
"""

import struct
from dataclasses import dataclass
from typing import Final

from audio_processor.containers import demuxer_of, no_audio
from parlando.domain.audio import Encoding
from parlando.domain.formats import MAX_CHANNELS, AudioFormat
from parlando.errors import InvalidAudioError

LONGEST_HEAD: Final = 1 << 20  # bytes within which the samples of a WAV begin; else FFmpeg must find them
LONGEST_TAG: Final = 1 << 16  # bytes of an ID3 tag behind which the format is looked for
HIGHEST_WAV_RATE: Final = 192_000
_ENDLESS: Final = (0, 0xFFFFFFFF)  # data sizes in the headers of WAVs written live

_RAW: Final = {
    Encoding.PCM_S16LE: "s16le",
    Encoding.PCM_F32LE: "f32le",
    Encoding.MULAW: "mulaw",
    Encoding.ALAW: "alaw",
}
_WAV: Final = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (3, 64): "f64le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
_WIDTHS: Final = {
    "u8": 1,
    "s16le": 2,
    "s24le": 3,
    "s32le": 4,
    "f32le": 4,
    "f64le": 8,
    "alaw": 1,
    "mulaw": 1,
}


@dataclass(frozen=True, slots=True)
class PcmLayout:
    """PCM samples. `skip`: bytes of header before them. `size`: bytes of samples; None if unknown."""

    codec: str
    rate: int
    channels: int
    skip: int = 0
    size: int | None = None

    @property
    def frame(self) -> int:
        """Bytes of one sample in all channels."""
        return _WIDTHS[self.codec] * self.channels

    @property
    def second(self) -> int:
        """Bytes of one second."""
        return self.frame * self.rate


@dataclass(frozen=True, slots=True)
class ContainerLayout:
    """A container. `demuxer`: FFmpeg's name of its format; None if the first bytes don't determine it."""

    demuxer: str | None


Layout = PcmLayout | ContainerLayout


def of_raw(form: AudioFormat) -> PcmLayout:
    """The layout of a raw encoding."""
    return PcmLayout(_RAW[form.encoding], form.sample_rate, form.channels)


def sniff(head: bytes, *, complete: bool) -> Layout | None:
    """The layout of a stream with the first bytes `head`; None if more bytes are needed.

    `complete`: no more bytes are available; the result is not None.

    Raises
    ------
    InvalidAudioError
        if it's a WAV with an invalid header, or certainly no audio.

    """
    if len(head) < 12 and not complete:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _wav(head, complete=complete)
    if head[:3] == b"ID3" and len(head) >= 10:
        return _after_id3_tag(head, complete=complete)
    found = demuxer_of(head)
    if found is None and (what := no_audio(head)):
        raise InvalidAudioError(f"Expected audio, but got {what}")
    return ContainerLayout(found)


def _after_id3_tag(head: bytes, *, complete: bool) -> ContainerLayout | None:
    """The layout behind an ID3 tag (www.id3.org; size in four times 7 bits), as in MP3, AAC or FLAC."""
    a, b, c, d = (byte & 0x7F for byte in head[6:10])
    stop = 10 + (a << 21 | b << 14 | c << 7 | d)
    if len(head) < stop + 4 and not complete and stop < LONGEST_TAG:
        return None
    return ContainerLayout(demuxer_of(head[stop:]) or "mp3")


def _wav(head: bytes, *, complete: bool) -> Layout | None:
    at = 12
    layout: PcmLayout | None = None
    while at + 8 <= len(head):
        name, size = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
        if name == b"data":
            if layout is None:
                raise InvalidAudioError("Expected a WAV with its format before its samples, but it has none")
            return _with_data(layout, at + 8, size)
        if name == b"fmt " and at + 8 + size <= len(head):
            found = _wav_format(head[at + 8 : at + 8 + size])
            if isinstance(found, ContainerLayout):
                return found
            layout = found
        at += 8 + size + size % 2
    if layout is not None and at > (len(head) if complete else LONGEST_HEAD):
        return ContainerLayout("wav")  # the samples are further on
    if complete or at > LONGEST_HEAD or len(head) > LONGEST_HEAD:
        raise InvalidAudioError("Expected a WAV with samples, but its header has no data chunk")
    return None


def _with_data(layout: PcmLayout, skip: int, size: int) -> PcmLayout:
    endless = size in _ENDLESS or size > 0x7FFFFFFF
    return PcmLayout(layout.codec, layout.rate, layout.channels, skip, None if endless else size)


def _wav_format(chunk: bytes) -> Layout:
    if len(chunk) < 16:
        raise InvalidAudioError(f"Expected a WAV format of 16 bytes or more, but got {len(chunk)}")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == 0xFFFE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    codec = _WAV.get((tag, bits))
    if codec is None:
        return ContainerLayout("wav")  # compressed, such as ADPCM: FFmpeg decodes it
    if not 1 <= channels <= MAX_CHANNELS or not 1000 <= rate <= HIGHEST_WAV_RATE:
        raise InvalidAudioError(
            f"Expected a WAV of 1 to {MAX_CHANNELS} channels at 1000 to {HIGHEST_WAV_RATE} Hz, "
            f"but its header says {channels} and {rate}"
        )
    return PcmLayout(codec, rate, channels)
