"""Where another recording begins in bytes that were joined, however they come."""

import struct

import numpy as np
import pytest

from audio_processor.layout import sniff
from audio_processor.parts import parts_of
from support.media import wav

SAMPLES = np.random.default_rng(1).integers(-3000, 3000, 4000).astype("<i2")


def _box(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def _page(packet: bytes, *, first: bool = False) -> bytes:
    head = b"OggS\0" + bytes([2 * first]) + bytes(20)
    return head + bytes([1, len(packet)]) + packet


MP4 = (
    _box(b"ftyp", b"isom\0\0\2\0")
    + _box(b"moov", bytes(90))
    + _box(b"moof", bytes(30))
    + _box(b"mdat", b"RI")
)
WEBM = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + bytes(60)
FLAC = b"fLaC\0\0\0\x22" + bytes(60)
MP3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(40)
VORBIS = b"\x01vorbis\0\0\0\0\x01\x44\xac\0\0" + bytes(14)
OPUS = [b"OpusHead\x01" + bytes([channels]) + bytes(9) for channels in (1, 2)]
FLAC_HEAD = b"\x7fFLAC" + bytes(46)


def _ogg(head: bytes) -> bytes:
    return _page(head, first=True) + _page(b"tags" * 9) + _page(bytes(250)) + _page(b"OggS" * 9)


FRAMES = np.random.default_rng(2).integers(0, 256, 3000).astype("u1").tobytes()
WHOLE_FLAC = b"fLaC\0\0\0\x22" + bytes(34) + b"\x84\0\1\0" + b"fLaC" * 64 + FRAMES

FIRST = {
    "WAV": wav(SAMPLES),
    "WAV with a chunk behind its samples": wav(SAMPLES) + b"LIST" + struct.pack("<I", 40) + b"ID3 " * 10,
    "WAV without a length": wav(SAMPLES, size=0),
    "MP4": MP4,
    "FLAC": WHOLE_FLAC,
    "FLAC with a tag": b"ID3\4\0\0\0\0\1\x0a" + bytes(138) + WHOLE_FLAC,
}
TAGGED = ("WAV", "MP4")
"""Those behind which an MP3 is found: its tag is looked for only directly behind the samples."""
SECOND = {"WAV": wav(SAMPLES), "MP4": MP4, "WebM": WEBM, "Ogg": _ogg(OPUS[0]), "FLAC": FLAC, "MP3": MP3}

JOINED = [(first, second) for first in FIRST for second in SECOND if second != "MP3" or first in TAGGED]


def _end(data: bytes, piece: int, *, before: int) -> int | None:
    """Where the first recording of `data` ends, whose bytes come in pieces.

    Checks that no byte behind `before` was called a part of this recording before the end was known.
    """
    layout = sniff(data, complete=True)
    assert layout is not None
    parts = parts_of(layout)
    for at in range(0, len(data), piece):
        stop = at + len(data[at : at + piece])
        if (end := parts.push(at, data[at:stop])) is not None:
            return end
        assert min(stop, stop if parts.undecided is None else parts.undecided) <= before
    return None


@pytest.mark.parametrize("piece", [1, 7, 16, 61, 1 << 20])
@pytest.mark.parametrize(("first", "second"), JOINED)
def test_another_recording_of_any_format_begins_behind_a_wav_or_an_mp4(first, second, piece):
    begin = len(FIRST[first])
    assert _end(FIRST[first] + SECOND[second], piece, before=begin) == begin


@pytest.mark.parametrize("piece", [1, 61, 1 << 20])
@pytest.mark.parametrize("first", FIRST)
def test_one_recording_has_no_other_behind_it(first, piece):
    assert _end(FIRST[first], piece, before=len(FIRST[first])) is None


@pytest.mark.parametrize("piece", [1, 7, 61, 1 << 20])
@pytest.mark.parametrize(
    ("first", "second", "splits"),
    [
        (VORBIS, VORBIS, True),
        (OPUS[0], OPUS[0], False),
        (OPUS[0], OPUS[1], True),
        (FLAC_HEAD, FLAC_HEAD, True),
        (OPUS[0], VORBIS, True),
    ],
)
def test_a_stream_of_an_ogg_that_needs_another_decoder_begins_anew(first, second, splits, piece):
    begin = len(_ogg(first))
    assert _end(_ogg(first) + _ogg(second), piece, before=1 << 20) == (begin if splits else None)


def test_two_streams_of_an_ogg_at_the_same_time_are_one_recording():
    both = _page(b"\x80theora" + bytes(30), first=True) + _page(VORBIS, first=True) + _page(bytes(90))
    assert _end(both, 1, before=len(both)) is None


@pytest.mark.parametrize("name", ["WAV without a length", "FLAC"])
def test_whoever_takes_over_a_live_recording_finds_the_next_one(name):
    data = FIRST[name]
    layout = sniff(data, complete=True)
    assert layout is not None
    assert parts_of(layout).push(1000, (data + data)[1000:]) == len(data)


def test_what_was_decided_to_belong_to_a_recording_does():
    """A flush passes the bytes on that might begin another one."""
    for data in (wav(SAMPLES), MP4, _ogg(VORBIS), WHOLE_FLAC):
        layout = sniff(data, complete=True)
        assert layout is not None
        parts = parts_of(layout)
        joined = data + data
        assert parts.push(0, joined[: len(data) + 6]) is None
        parts.decide()
        assert parts.undecided is None
        assert parts.push(len(data) + 6, joined[len(data) + 6 :]) is None
