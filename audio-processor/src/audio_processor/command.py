"""FFmpeg's command lines, built with ffmpeg-python. Pure.

The resampler is swresample with a Kaiser window of 64 taps (each as long as the lower rate needs): as clean
as soxr, but a sample of the output depends on a few milliseconds of input only. So it comes out at once,
and FFmpeg can be started anywhere and gives the same samples (docs/decisions/0005).
"""

import re
from typing import Any, Final

import ffmpeg

from audio_processor.layout import ContainerLayout, Layout, PcmLayout
from parlando.domain.audio import SAMPLE_RATE

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
)
"""Demuxers that may run: single streams of audio, nothing that names other files."""

DURATION: Final = re.compile(r"Duration: (?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d\.\d+)")
"""Where FFmpeg prints, at level info, how long a file's header says it is."""

_PACKETS: Final = 8  # raw PCM is read in an eighth of FFmpeg's usual pieces: 10 ms instead of 80
_PROBE: Final = 16_384  # bytes within which FFmpeg must know what it is, and how
_GLOBAL: Final = ("-hide_banner", "-nostats", "-nostdin", "-max_error_rate", "1", "-loglevel")
_RESAMPLER: Final = {
    "resampler": "swr",
    "filter_type": "kaiser",
    "kaiser_beta": 11,
    "filter_size": 64,
    "cutoff": 0.95,
    "internal_sample_fmt": "fltp",
}
_LIMITER: Final = {"limit": 0.9, "attack": 5, "release": 50, "level": "disabled"}
_LOOK_AHEAD: Final = 79  # samples by which the limiter is late: its attack of 5 ms, less one


def decode(
    program: str,
    layout: Layout,
    *,
    source: str = "pipe:0",
    descriptor: int | None = None,
    channel: int | None = None,
    normalize: bool = False,
    form: str = "s16le",
    split: bool = False,
    level: str = "error",
) -> list[str]:
    """The command that turns `source` into 16 kHz mono s16le on standard output.

    `descriptor`: the open file to read, for `source` "fd:". `form`: "s16le" or "wav". `split`: not mono, but
    all channels. `level`: how much FFmpeg says.

    No `-fflags nobuffer`: before 9.0 it drops the packets that FFmpeg had read to recognise its input.
    """
    options: dict[str, Any] = {
        "protocol_whitelist": "fd" if source == "fd:" else source.partition(":")[0],
        "analyzeduration": 0,
        "threads": 1,
    }
    if descriptor is not None:
        options["fd"] = descriptor
    if isinstance(layout, PcmLayout):
        options |= {
            "probesize": 32,
            "f": layout.codec,
            "ar": layout.rate // _PACKETS,
            "ac": layout.channels,
        }
    else:
        options |= {
            "format_whitelist": ",".join(DEMUXERS),
            "formatprobesize": _PROBE,
            "probesize": _PROBE,
        }
        if layout.demuxer is not None:
            options["f"] = layout.demuxer
    stream = ffmpeg.input(source, **options).audio
    if not split:
        stream = _mono(stream, layout, channel)
    if isinstance(layout, PcmLayout):
        stream = stream.filter("asetrate", layout.rate)
    stream = stream.filter("aresample", SAMPLE_RATE, **_RESAMPLER)
    if normalize:
        stream = _normalized(stream)
    written: dict[str, Any] = {"format": form, "acodec": "pcm_s16le", "ar": SAMPLE_RATE}
    if not split:
        written["ac"] = 1
    out = stream.output("pipe:1", **written, flush_packets=1, fflags="+bitexact")
    command: list[str] = ffmpeg.compile(out.global_args(*_GLOBAL, level), cmd=program)
    return command


def _normalized(stream: Any) -> Any:
    """High-pass at 70 Hz and limiter at 0.9; the limiter's delay is taken off again.

    In double precision, in which every version of FFmpeg computes the same samples. The limiter's own option
    for its delay (`latency`) came with 5.1.
    """
    stream = stream.filter("aformat", sample_fmts="dblp").filter("highpass", f=70)
    stream = stream.filter("apad", pad_len=_LOOK_AHEAD).filter("alimiter", **_LIMITER)
    return stream.filter("atrim", start_sample=_LOOK_AHEAD)


def _mono(stream: Any, layout: Layout, channel: int | None) -> Any:
    """One channel of many: the one asked for, or all mixed alike (a container's by FFmpeg's own rules)."""
    if isinstance(layout, PcmLayout) and layout.channels == 1:
        return stream
    if channel is not None:
        return stream.filter("pan", f"mono|c0<c{channel}")
    if isinstance(layout, ContainerLayout):
        return stream.filter("aformat", channel_layouts="mono")
    mixed = "+".join(f"c{number}" for number in range(layout.channels))
    return stream.filter("pan", f"mono|c0<{mixed}")  # "<" shares the gain out so that it adds up to 1
