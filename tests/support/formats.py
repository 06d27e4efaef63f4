"""The formats of docs/formats.md: each is encoded with FFmpeg, and decoded or refused by the audio-processor.

`python -m support.formats` in tests/ writes the tables; `test_formats_table.py` checks each row.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from support.settings_doc import ROOT
from support.speech import JFK, fixture

PAGE: Final = ROOT / "docs" / "formats.md"
BEGIN: Final = "<!-- table: python -m support.formats -->\n"
END: Final = "<!-- end of the table -->\n"
SECONDS: Final = 3


@dataclass(frozen=True)
class Row:
    """A container with a codec. `options`: FFmpeg's, to encode it.

    `not_live`: why it can't be decoded as it comes, but only as a file; "" if it can.
    """

    container: str
    suffixes: str
    codec: str
    options: str
    not_live: str = ""

    @property
    def live(self) -> bool:
        """Whether it is decoded as it comes."""
        return not self.not_live

    @property
    def name(self) -> str:
        """For test ids."""
        return f"{self.container} {self.codec}"


def _wav(codec: str, options: str) -> Row:
    return Row("WAV", "wav", codec, f"{options} -f wav")


ROWS: Final = (
    _wav("PCM, 8 bit", "-c:a pcm_u8"),
    _wav("PCM, 16 bit", "-c:a pcm_s16le"),
    _wav("PCM, 24 bit", "-c:a pcm_s24le"),
    _wav("PCM, 32 bit", "-c:a pcm_s32le"),
    _wav("PCM, float", "-c:a pcm_f32le"),
    _wav("PCM, double", "-c:a pcm_f64le"),
    _wav("A-law", "-ar 8000 -c:a pcm_alaw"),
    _wav("µ-law", "-ar 8000 -c:a pcm_mulaw"),
    _wav("ADPCM (Microsoft)", "-c:a adpcm_ms"),
    _wav("ADPCM (IMA)", "-c:a adpcm_ima_wav"),
    _wav("G.722", "-c:a g722"),
    _wav("G.726", "-ar 8000 -c:a g726 -b:a 32k"),
    _wav("MP3", "-c:a libmp3lame"),
    Row("RF64, BW64", "wav, rf64", "PCM", "-f wav -rf64 always"),
    Row("Wave64", "w64", "PCM", "-f w64"),
    Row("AIFF, AIFF-C", "aiff, aif", "PCM", "-f aiff"),
    Row("AIFF, AIFF-C", "aifc", "A-law", "-ar 8000 -c:a pcm_alaw -f aiff"),
    Row("AU", "au, snd", "PCM", "-f au"),
    Row("AU", "au, snd", "µ-law", "-ar 8000 -c:a pcm_mulaw -f au"),
    Row("CAF", "caf", "PCM", "-c:a pcm_s16be -f caf"),
    Row("CAF", "caf", "ALAC", "-c:a alac -f caf", "the sizes of its packets are behind the sound"),
    Row("VOC", "voc", "PCM", "-ar 8000 -c:a pcm_u8 -f voc"),
    Row("IRCAM", "sf", "PCM", "-c:a pcm_s16le -f ircam"),
    Row("SoX", "sox", "PCM", "-c:a pcm_s32le -f sox"),
    Row("FLAC", "flac", "FLAC", "-f flac"),
    Row("WavPack", "wv", "WavPack", "-c:a wavpack -f wv"),
    Row("True Audio", "tta", "TTA", "-c:a tta -f tta"),
    Row("MP3", "mp3", "MP3", "-f mp3"),
    Row("MP2", "mp2", "MP2", "-c:a mp2 -f mp2"),
    Row("AAC (ADTS)", "aac", "AAC", "-c:a aac -f adts"),
    Row("AAC (LATM)", "loas, latm", "AAC", "-c:a aac -f latm"),
    Row("AC-3", "ac3", "AC-3", "-ar 48000 -c:a ac3 -f ac3"),
    Row("E-AC-3", "eac3, ec3", "E-AC-3", "-ar 48000 -c:a eac3 -f eac3"),
    Row("DTS", "dts", "DTS", "-ar 48000 -ac 2 -c:a dca -strict -2 -f dts"),
    Row("TrueHD", "thd", "TrueHD", "-ar 48000 -ac 2 -c:a truehd -strict -2 -f truehd"),
    Row("MLP", "mlp", "MLP", "-ar 48000 -ac 2 -c:a mlp -strict -2 -f mlp"),
    Row("AMR", "amr", "AMR-NB", "-ar 8000 -ac 1 -c:a libopencore_amrnb -f amr"),
    Row("Ogg", "ogg, oga, opus", "Opus", "-c:a libopus -f ogg"),
    Row("Ogg", "ogg, oga", "Vorbis", "-c:a libvorbis -f ogg"),
    Row("Ogg", "oga", "FLAC", "-c:a flac -f ogg"),
    Row("WebM", "webm, weba", "Opus", "-c:a libopus -f webm"),
    Row("WebM", "webm, weba", "Vorbis", "-c:a libvorbis -f webm"),
    Row("Matroska", "mkv, mka", "AAC", "-c:a aac -f matroska"),
    Row("Matroska", "mkv, mka", "AC-3", "-ar 48000 -c:a ac3 -f matroska"),
    Row("Matroska", "mkv, mka", "DTS", "-ar 48000 -ac 2 -c:a dca -strict -2 -f matroska"),
    Row("Matroska", "mkv, mka", "FLAC", "-c:a flac -f matroska"),
    Row("Matroska", "mkv, mka", "PCM, 24 bit", "-c:a pcm_s24le -f matroska"),
    Row("MP4, fragmented", "mp4, m4a", "AAC", "-c:a aac -f mp4 -movflags frag_keyframe+empty_moov"),
    Row("MP4, fragmented", "mp4", "Opus", "-c:a libopus -f mp4 -movflags frag_keyframe+empty_moov"),
    Row("MP4, M4A, M4B", "mp4, m4a, m4b", "AAC", "-c:a aac -f mp4"),
    Row("MP4, M4A, M4B", "m4a", "ALAC", "-c:a alac -f mp4"),
    Row("QuickTime", "mov, qt", "PCM", "-c:a pcm_s16le -f mov"),
    Row("3GPP", "3gp", "AMR-NB", "-ar 8000 -ac 1 -c:a libopencore_amrnb -f 3gp"),
    Row("AVI", "avi", "MP3", "-c:a libmp3lame -f avi"),
    Row("AVI", "avi", "PCM", "-c:a pcm_s16le -f avi"),
    Row("ASF", "wma, asf", "WMA 2", "-c:a wmav2 -f asf"),
    Row("ASF", "wma, wmv", "WMA 1", "-c:a wmav1 -f asf"),
    Row("Flash video", "flv", "AAC", "-c:a aac -f flv"),
    Row("Flash video", "flv", "MP3", "-ar 44100 -c:a libmp3lame -f flv"),
    Row("MPEG-TS", "ts, m2ts", "AAC", "-c:a aac -f mpegts"),
    Row("MPEG-TS", "ts, m2ts", "AC-3", "-ar 48000 -c:a ac3 -f mpegts"),
    Row("MPEG-TS", "ts, m2ts", "MP2", "-c:a mp2 -f mpegts"),
    Row("MPEG-TS", "ts, m2ts", "Opus", "-c:a libopus -f mpegts"),
    Row("MPEG-PS", "mpg, vob", "MP2", "-ar 48000 -c:a mp2 -f mpeg"),
    Row("MPEG-PS", "mpg, vob", "AC-3", "-ar 48000 -c:a ac3 -f vob"),
    Row("MXF", "mxf", "PCM", "-ar 48000 -c:a pcm_s16le -f mxf_opatom"),
    Row("WTV", "wtv", "MP2", "-ar 48000 -c:a mp2 -f wtv", "its directory is behind the sound"),
    Row("RealMedia", "rm", "AC-3", "-ar 44100 -ac 2 -c:a ac3 -f rm"),
    Row("NUT", "nut", "Vorbis", "-c:a libvorbis -f nut"),
)


@dataclass(frozen=True)
class Refused:
    """A format that is refused. `options`: FFmpeg's, to encode it; "VIDEO" for a picture.

    `error`: what the client gets. `why`: why it is so.
    """

    format: str
    options: str
    error: str
    why: str


_UNLISTED: Final = (
    "its format is not one of those that are decoded; convert it to WAV, FLAC, MP3, M4A, Ogg or WebM"
)
_PLAYLIST: Final = "a playlist, which names other files: send the recording itself"
_UNKNOWN: Final = "it is no known audio format, or damaged"
_SILENT: Final = "it holds no audio stream"
_NO_HEAD: Final = "without a header its rate is unknown; state the format with `encoding` or `encode=false`"
_BARE: Final = "its first bytes are not distinct from other data; put it into a container"
_OTHERS: Final = "it names other files or addresses, which a server must not open for a client"
_NO_SOUND: Final = "it has no sound"
_GAME: Final = "a format of games; recorders don't write it"

REFUSED: Final = (
    Refused("HLS, M3U", "-c:a aac -f hls", _PLAYLIST, _OTHERS),
    Refused(
        "DASH, other XML",
        "-c:a aac -f dash",
        "an XML document: send the recording itself",
        _OTHERS,
    ),
    Refused("raw PCM", "-f s16le", _UNKNOWN, _NO_HEAD),
    Refused("raw µ-law, A-law", "-ar 8000 -f mulaw", _UNKNOWN, _NO_HEAD),
    Refused("raw G.722, G.726", "-c:a g722 -f g722", _UNKNOWN, _BARE),
    Refused("SBC", "-c:a sbc -f sbc", _UNKNOWN, _BARE),
    Refused("aptX", "-ar 48000 -ac 2 -c:a aptx -f aptx", _UNKNOWN, _BARE),
    Refused(
        "SPDIF", "-ar 48000 -c:a ac3 -f spdif", _UNLISTED, "bytes of a cable; send the AC-3 or DTS in it"
    ),
    Refused(
        "DV",
        "VIDEO -s 720x576 -pix_fmt yuv420p -ar 48000 -ac 2 -f dv",
        _UNLISTED,
        "13 GB an hour, nearly all picture: extract the sound",
    ),
    Refused("Flash (SWF)", "-ar 44100 -c:a libmp3lame -f swf", _UNLISTED, "a program, not a recording"),
    Refused("ADX", "-ar 44100 -f adx", _UNLISTED, _GAME),
    Refused("AST", "-f ast", _UNLISTED, _GAME),
    Refused("GIF", "VIDEO -an -f gif", "a GIF image", _NO_SOUND),
    Refused("JPEG", "VIDEO -an -f mjpeg", "a JPEG image", _NO_SOUND),
    Refused("PNG", "VIDEO -an -f apng", "a PNG image", _NO_SOUND),
    Refused("MP4 without sound", "VIDEO -an -c:v mpeg4 -f mp4", _SILENT, _NO_SOUND),
    Refused("WebM without sound", "VIDEO -an -c:v libvpx -f webm", _SILENT, _NO_SOUND),
    Refused("raw video", "VIDEO -an -f yuv4mpegpipe", _UNLISTED, _NO_SOUND),
    Refused("metadata of FFmpeg", "-f ffmetadata", _UNLISTED, _NO_SOUND),
)


@cache
def encoded(row: Row | Refused) -> bytes:
    """The first seconds of the speech in this format, from a file: some formats are completed at the end."""
    options = row.options.removeprefix("VIDEO ")
    picture = [] if options == row.options else ["-f", "lavfi", "-i", "color=size=64x64:rate=25"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech"
        source = ["-v", "error", "-i", JFK, *picture, "-t", str(SECONDS)]
        command = [get_ffmpeg_exe(), *source, *options.split(), target]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)  # some print what they write
        return target.read_bytes()


def likeness(samples: np.ndarray) -> float:
    """How much samples are like the speech: their correlation where they fit best, within 0.2 s."""
    said = fixture("jfk.flac")[: SECONDS * 16_000].astype(float)
    found = samples[: len(said)].astype(float)
    size = 2 * len(said)
    scores = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(said, size)), size)
    near = np.concatenate([scores[:3200], scores[-3200:]])
    return float(near.max() / (np.linalg.norm(said) * np.linalg.norm(found) + 1e-9))


def table() -> str:
    """The rows as a table in Markdown."""
    lines = ["| container | usual suffixes | codec | file | live |", "|---|---|---|---|---|"]
    for row in ROWS:
        live = f"no: {row.not_live}" if row.not_live else "yes"
        lines.append(f"| {row.container} | {row.suffixes} | {row.codec} | yes | {live} |")
    return "\n".join(lines) + "\n"


def table_of_refused() -> str:
    """The refused formats as a table in Markdown."""
    lines = ["| format | the error ends with | why it isn't taken |", "|---|---|---|"]
    lines += [f"| {row.format} | {row.error} | {row.why} |" for row in REFUSED]
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/formats.md with the present tables."""
    parts = PAGE.read_text().split(BEGIN)
    after = [part.partition(END)[2] for part in parts[1:]]
    tables = (table(), table_of_refused())
    filled = [f"{BEGIN}{made}{END}{rest}" for made, rest in zip(tables, after, strict=True)]
    return "".join([parts[0], *filled])


if __name__ == "__main__":
    PAGE.write_text(page())
