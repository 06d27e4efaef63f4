"""The containers that are decoded: FFmpeg's demuxers, and the first bytes by which each is known. Pure."""

from typing import Final

DEMUXERS: Final = (
    "matroska,webm",
    "ogg",
    "mov,mp4,m4a,3gp,3g2,mj2",
    "mp3",
    "flac",
    "wav",
    "aac",
    "aiff",
    "au",
    "caf",
    "amr,amrnb,amrwb",
    "nistsphere",
    "w64",
    "mpegts",
    "mpeg",
    "avi",
    "flv",
    "asf",
    "ac3",
    "eac3",
    "dts",
    "dtshd",
    "truehd",
    "mlp",
    "wv",
    "tta",
    "ape",
    "tak",
    "mpc",
    "mpc8",
    "voc",
    "mxf",
    "wtv",
    "rm",
    "loas",
    "gsm",
    "qcp",
    "dsf",
    "iff",
    "oma",
    "xwma",
    "sox",
    "ircam",
    "nut",
)
"""Allowed demuxers: formats of audio in one file, none that refers to other files or to addresses.

So no playlist is allowed (HLS, DASH, concat, SDP, ASX), no image sequence, no subtitle or module format.
"""

WITHOUT_INDEX: Final = frozenset({"mpeg", "mpegts", "flv", "asf", "avi", "mxf", "wtv", "rm", "nut"})
"""Demuxers that find the audio stream only in the data, possibly behind much video."""

_STARTS: Final = {
    b"\x1aE\xdf\xa3": "matroska",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"FORM": "aiff",
    b"caff": "caf",
    b".snd": "au",
    b"#!AMR": "amr",
    b"NIST_1A": "nistsphere",
    b"RF64": "wav",
    b"BW64": "wav",
    b"RIFX": "wav",
    b"riff\x2e\x91\xcf\x11": "w64",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    b"FLV\x01": "flv",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x0b\x77": "ac3",
    b"\x7f\xfe\x80\x01": "dts",
    b"DTSHDHDR": "dtshd",
    b"wvpk": "wv",
    b"TTA1": "tta",
    b"MAC ": "ape",
    b"tBaK": "tak",
    b"MP+": "mpc",
    b"MPCK": "mpc8",
    b"Creative Voice File\x1a": "voc",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01": "mxf",
    b"\xb7\xd8\x00\x20\x37\x49\xda\x11": "wtv",
    b".RMF": "rm",
    b".ra\xfd": "rm",
    b"DSD ": "dsf",
    b"nut/multimedia container": "nut",
}
_RIFFS: Final = {b"AVI ": "avi", b"QLCM": "qcp", b"XWMA": "xwma"}
_SYNCS: Final = {b"\xf8\x72\x6f\xba": "truehd", b"\xf8\x72\x6f\xbb": "mlp"}
_IFFS: Final = (b"8SVX", b"16SV", b"MAUD")
_PACKET: Final = 188  # bytes of an MPEG-TS packet


def demuxer_of(head: bytes) -> str | None:
    """FFmpeg's demuxer for a stream that begins with `head`; None if FFmpeg must find it.

    E-AC-3 has the same first bytes as AC-3, and FFmpeg's demuxers know only their own.
    """
    if head[:2] == b"\x0b\x77":
        return "eac3" if len(head) > 5 and head[5] >> 3 > 10 else "ac3"
    if head[:4] == b"FORM" and head[8:12] in _IFFS:
        return "iff"
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] in _RIFFS:
        return _RIFFS[head[8:12]]
    if head[4:8] in (b"ftyp", b"styp", b"moov"):
        return "mov"
    if head[4:8] in _SYNCS:
        return _SYNCS[head[4:8]]
    if head[:1] == b"G" and head[_PACKET : _PACKET + 1] == b"G":
        return "mpegts"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "mp3"
    return None


_NO_AUDIO: Final = {
    b"#extm3u": "a playlist, which names other files: send the recording itself",
    b"ffconcat": "a playlist, which names other files: send the recording itself",
    b"[playlist]": "a playlist, which names other files: send the recording itself",
    b"<asx": "a playlist, which names other files: send the recording itself",
    b"concat:": "a playlist, which names other files: send the recording itself",
    b"v=0\n": "a description of a stream (SDP): send the stream's audio",
    b"v=0\r\n": "a description of a stream (SDP): send the stream's audio",
    b"<!doctype html": "a web page: send the recording itself",
    b"<html": "a web page: send the recording itself",
    b"<?xml": "an XML document: send the recording itself",
    b"<mpd": "a playlist (DASH), which names other files: send the recording itself",
    b"%pdf": "a PDF document",
    b"\x89png": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"gif8": "a GIF image",
    b"pk\x03\x04": "a ZIP archive: send the recording that is in it",
    b"\x1f\x8b": "a gzip archive: send the recording that is in it",
    b"7z\xbc\xaf": "a 7-Zip archive: send the recording that is in it",
    b"rar!": "a RAR archive: send the recording that is in it",
    b"mthd": "a MIDI file, which has notes instead of sound",
    b"\x7felf": "a program",
}
"""First bytes in lower case, and what a file with them is."""


def no_audio(head: bytes) -> str | None:
    """What a file is that begins with `head`, if it certainly holds no audio."""
    lower = head[:32].lower().removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for start, what in _NO_AUDIO.items() if lower.startswith(start)), None)
